# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Checks that the real torch_npu wheel (2.13.0) has the names and arguments that this project calls.

The wheel is optional: these tests skip if it is not installed. To run them on a machine without Ascend:

    python -m venv /tmp/npu && /tmp/npu/bin/pip install torch==2.13.0 torch-npu==2.13.0 numpy pyyaml
    TORCH_NPU_PYTHON=/tmp/npu/bin/python python -m pytest tests/npu/test_torch_npu_wheel.py

Without CANN the wheel is imported with stub libraries (tests/npusim/make_stub_libraries.py); it computes nothing in
these tests. The simulated NPU's stand-in is checked against the same table.
"""
import importlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch

from tests.helpers.paths import ROOT
from tests.helpers.paths import SIMULATED_NPU as SITE
from tests.helpers.processes import HUNG
from tests.helpers.warm_python import warm_python
from utils.optimizers import step_unless

# {dotted name in torch_npu: arguments of the call (positional, keyword), None if it is not called}
ADAM = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
CALLS = {
    "optim.NpuFusedAdam": (["params"], ADAM),
    "optim.NpuFusedAdam.step": (["self"], {}),
    "profiler.profile": ([], {"activities": [], "on_trace_ready": None}),
    "profiler.tensorboard_trace_handler": (["folder"], {"worker_name": "rank0"}),
    "profiler.ProfilerActivity.NPU": None,
    "npu.set_compile_mode": ([], {"jit_compile": False}),
    "npu.config": None,
    "npu.is_available": ([], {}),
    "npu.device_count": ([], {}),
    "npu.current_device": ([], {}),
    "npu.set_device": (["npu:0"], {}),
    "npu.get_device_name": (["npu:0"], {}),
    "npu.synchronize": (["npu:0"], {}),
    "npu.memory_allocated": (["npu:0"], {}),
    "npu.max_memory_allocated": (["npu:0"], {}),
    "npu.reset_peak_memory_stats": (["npu:0"], {}),
    "npu.empty_cache": ([], {}),
    "npu.manual_seed_all": ([0], {}),
    "npu.get_rng_state": (["npu:0"], {}),
    "npu.set_rng_state": (["state", "npu:0"], {}),
    "npu.utils.is_support_inf_nan": ([], {}),  # False on a 910A: only the float status shows its overflows;
    "npu.get_npu_overflow_flag": ([], {}),    # from 910B on it raises RuntimeError
    "npu.clear_npu_overflow_flag": ([], {}),
    "npu_change_data_ptr": None,              # NpuFusedAdam combines tensors with it
    "get_storage_size": None,
    "__version__": None,
}

PROBE = """
import inspect, json, os, sys
os.environ["TORCH_DEVICE_BACKEND_AUTOLOAD"] = "0"
import torch, torch_npu
wrong = []
for name, call in json.load(sys.stdin).items():
    try:
        found = torch_npu
        for part in name.split("."):
            found = getattr(found, part)
        if call is not None:
            inspect.signature(found).bind(*call[0], **call[1])
    except (AttributeError, TypeError, ValueError) as error:
        wrong.append(f"{name}: {error}")
assert torch.npu is torch_npu.npu
torch_npu.npu.config.allow_internal_format = False  # raises where it cannot be set
import torch.distributed as dist
print(json.dumps({"version": torch_npu.__version__, "wrong": wrong,
                  "backend": dist.get_default_backend_for_device("npu")}))
"""


def probe(python, **environment):
    done = subprocess.run([python, "-c", PROBE], input=json.dumps(CALLS), capture_output=True, text=True,
                          timeout=HUNG, env=os.environ | environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def wheel():
    """Returns (a Python with the real torch_npu, folder of that package); skips if there is none."""
    python = os.environ.get("TORCH_NPU_PYTHON", sys.executable)
    code = "import importlib.util as u; s = u.find_spec('torch_npu'); print(s.origin if s else '')"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    if not done.stdout.strip():
        pytest.skip("torch-npu is not installed; TORCH_NPU_PYTHON can name a Python that has it")
    return python, Path(done.stdout.strip()).parent


def test_the_wheel_has_what_is_called(wheel, tmp_path):
    python, _ = wheel
    stubs = ROOT / "tests/npusim/make_stub_libraries.py"
    subprocess.run([python, str(stubs), str(tmp_path)], check=True,
                   env=os.environ | {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"})
    found = probe(python, LD_LIBRARY_PATH=str(tmp_path))
    assert found["wrong"] == [] and found["version"].startswith("2.13") and found["backend"] == "hccl"


@pytest.fixture
def stand_in(npu):
    """Returns the simulated NPU's torch_npu."""
    import torch_npu
    yield torch_npu
    for name in [n for n in sys.modules if n.split(".")[0] == "wheel_optim"]:
        del sys.modules[name]


def test_the_stand_in_has_what_is_called(stand_in):
    found = probe(warm_python(), PYTHONPATH=str(SITE))
    assert found["wrong"] == [] and found["backend"] == "hccl"


def real_fused_adam(stand_in, folder):
    """Returns NpuFusedAdam from the wheel's source, running on the simulated NPU's torch_npu."""
    errors = types.ModuleType("torch_npu.utils._error_code")
    errors.ErrCode = types.SimpleNamespace(VALUE=0, TYPE=0, PARAM=0, NOT_SUPPORT=0)
    errors.pta_error = lambda code: ""
    spec = importlib.util.spec_from_file_location("torch_npu.utils", folder / "utils/combine_tensors.py")
    utils = importlib.util.module_from_spec(spec)
    sys.modules |= {"torch_npu.utils": utils, "torch_npu.utils._error_code": errors}
    spec.loader.exec_module(utils)
    package = types.ModuleType("wheel_optim")
    package.__path__ = [str(folder / "optim")]
    sys.modules["wheel_optim"] = package
    return importlib.import_module("wheel_optim.npu_fused_adam").NpuFusedAdam


@pytest.mark.parametrize("amsgrad", [False, True])
def test_the_stand_ins_adam_equals_the_wheels(wheel, stand_in, amsgrad):
    """Also in skipped steps, which must leave weights unchanged."""
    results = []
    for adam in (stand_in.optim.NpuFusedAdam, real_fused_adam(stand_in, wheel[1])):
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Linear(5, 2)).to("npu")
        groups = [{"params": net[0].parameters()}, {"params": net[1].parameters(), "lr": 1e-3}]
        optimizer = adam(groups, lr=1e-2, weight_decay=1e-2, amsgrad=amsgrad)
        for overflow in (1.0, 0.0, 1.0, 0.0):
            optimizer.zero_grad()
            net(torch.ones(3, 4, device="npu")).square().sum().backward()
            before = [p.detach().clone() for p in net.parameters()]
            step_unless(torch.tensor(overflow, device="npu"), optimizer)
            unchanged = all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
            assert unchanged == bool(overflow)
        later = adam([{"params": net[0].parameters()}, {"params": net[1].parameters()}], amsgrad=amsgrad)
        later.load_state_dict(optimizer.state_dict())
        later.step()
        results.append([p.detach().cpu() for p in net.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_the_wheel_runs_these_operators_on_the_cpu(wheel):
    """The library holds a message, or the name of a function, for each operator that it runs on the CPU."""
    spec = importlib.util.spec_from_file_location("operators", ROOT / "tests/npusim/operators.py")
    operators = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(operators)
    text = (wheel[1] / "lib/libtorch_npu.so").read_bytes().decode("latin")
    named = {name for message in re.findall(r"CAUTION: The operator ([^\0]*?to run on the CPU)", text)
             for name in re.findall(r"aten::\w+", message)}
    named |= {f"aten::{name}" for name in re.findall(r"\0([a-z_]+?)(?:_inplace|_out)?_cpu_fallback\(self", text)}
    listed = {name.split(".")[0].removesuffix("_") for name in operators.CPU_FALLBACKS}
    assert {name.removesuffix("_") for name in named} == listed
