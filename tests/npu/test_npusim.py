# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Checks that the simulated NPU (tests/npusim) behaves as the other tests assume."""
import copy
import io
import os
import subprocess
import sys
import textwrap
import time

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tests.helpers.paths import ROOT
from tests.helpers.processes import HUNG
from tests.helpers.warm_python import warm_python


def run_python(code, **environment):
    """Runs `code` in a separate Python process; returns its output. An error of the process fails the test."""
    done = subprocess.run([warm_python(), "-c", textwrap.dedent(code)], capture_output=True, text=True,
                          cwd=ROOT, timeout=HUNG, env=os.environ | environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def small_net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.LeakyReLU(0.2), nn.Conv2d(8, 3, 3))


# ---- devices ----
def test_eight_devices_that_can_be_hidden(npu):
    assert torch.npu.device_count() == torch.accelerator.device_count() == 8
    assert torch.accelerator.is_available() and torch.accelerator.current_accelerator().type == "npu"
    assert torch.ones(1, device="npu:7").device.index == 7
    with torch.npu.device(3):
        assert torch.ones(1, device="npu").device.index == torch.accelerator.current_device_index() == 3
    assert torch.npu.current_device() == 0
    for wrong in (lambda: torch.ones(1, device="npu:8"), lambda: torch.npu.set_device(8)):
        with pytest.raises(RuntimeError, match="8 simulated npu are visible"):
            wrong()
    npu.set_visible(0)
    assert not torch.accelerator.is_available() and not torch.npu.is_available()


def test_mixing_devices_raises(npu):
    here, there, host = torch.ones(3, device="npu:0"), torch.ones(3, device="npu:1"), torch.ones(3)
    image, weight = torch.ones(1, 3, 8, 8), torch.ones(2, 3, 3, 3)
    for mixed in (lambda: here + host, lambda: host + here, lambda: here + there, lambda: here.add_(host),
                  lambda: torch.cat([here, host]), lambda: torch.addcmul(here, here, host),
                  lambda: F.conv2d(image.to("npu"), weight), lambda: F.conv2d(image, weight.to("npu")),
                  lambda: F.conv2d(image.to("npu"), weight.to("npu:1"))):
        with pytest.raises(RuntimeError, match="same device"):
            mixed()
    assert (here + torch.tensor(2.0)).tolist() == [3, 3, 3]  # a host scalar joins any device, as in torch
    assert here[torch.tensor([0, 2])].shape == (2,)  # so does an index on the host
    assert (here + there.to("npu:0")).device.index == 0
    with pytest.raises(TypeError, match="npu"):
        here.numpy()  # data reaches the host only by .cpu()


def test_operators_are_listed_and_can_be_banned(npu):
    x = torch.randn(4, device="npu")
    torch.npu.reset_ops_seen()
    x.sort()
    assert any(name.startswith("aten::sort") for name in torch.npu.ops_seen())
    torch.npu.reset_ops_seen()
    assert torch.npu.ops_seen() == []
    torch.npu.ban(["aten::sort", "aten::convolution_overrideable"])
    with pytest.raises(NotImplementedError, match=r"aten::sort.* banned on the simulated npu"):
        x.sort()  # no silent fallback to the CPU
    with pytest.raises(NotImplementedError, match="convolution"):
        small_net().to("npu")(torch.zeros(1, 3, 8, 8, device="npu"))
    torch.npu.ban([])
    x.sort()


def test_host_reads_are_counted(npu):
    x = torch.ones(3).to("npu")
    before = torch.npu.host_reads()
    y = (x * 2).sum()
    assert torch.npu.host_reads() == before
    y.item()
    y.cpu()
    assert torch.npu.host_reads() == before + 2
    x[torch.zeros(1, dtype=torch.int64, device="npu")]  # no mask: the host knows the result's shape
    assert torch.npu.host_reads() == before + 2
    for waits in (lambda: x.nonzero(), lambda: x[x > 0], lambda: torch.equal(x, x)):
        before = torch.npu.host_reads()
        waits()
        assert torch.npu.host_reads() > before


def test_events_measure_milliseconds(npu):
    start, end = (torch.Event(device="npu", enable_timing=True) for _ in range(2))
    before = time.perf_counter()
    start.record()
    time.sleep(0.05)
    end.record()
    end.synchronize()
    longest = 1000 * (time.perf_counter() - before)
    assert end.query() and 50 <= start.elapsed_time(end) <= longest
    torch.accelerator.synchronize()
    torch.npu.synchronize()
    with torch.Stream(device="npu:0") as stream:
        assert torch.accelerator.current_stream() == stream
    assert torch.accelerator.current_stream() != stream


def test_memory_is_counted_per_device(npu):
    before = torch.npu.memory_allocated(5)
    torch.npu.reset_peak_memory_stats(5)
    a = torch.zeros(1000, device="npu:5")
    b = a * 2
    assert torch.npu.memory_allocated("npu:5") == before + 8000 == torch.accelerator.memory_allocated(5)
    assert torch.npu.memory_allocated(6) == 0
    del a, b
    assert torch.npu.memory_allocated(5) == before
    assert torch.npu.max_memory_allocated(5) == before + 8000 == torch.accelerator.max_memory_allocated(5)


# ---- random numbers ----
def test_random_states_are_each_devices_own(npu):
    torch.manual_seed(3)
    on_host, first = torch.rand(4), torch.rand(4, device="npu:0")
    torch.manual_seed(3)
    torch.rand(100)  # does not change the device's state
    assert torch.equal(torch.rand(4, device="npu:0").cpu(), first.cpu())
    assert torch.equal(on_host, first.cpu())  # the same algorithm, from the same seed
    state = torch.npu.get_rng_state("npu:0")
    drawn = [torch.rand(4, device="npu:0"), F.dropout(torch.ones(50, device="npu:0"))]
    torch.rand(9, device="npu:1")
    torch.npu.set_rng_state(state, "npu:0")
    again = [torch.rand(4, device="npu:0"), F.dropout(torch.ones(50, device="npu:0"))]
    assert all(torch.equal(a.cpu(), b.cpu()) for a, b in zip(drawn, again, strict=True))
    generator = torch.Generator(device="npu").manual_seed(5)
    own = torch.randn(4, device="npu", generator=generator)
    assert torch.equal(own.cpu(), torch.randn(4, generator=torch.Generator().manual_seed(5)))


# ---- tensors, modules, files ----
def test_views_of_flat_tensors_train(npu):
    flat, flat_grad = torch.randn(16, device="npu"), torch.zeros(16, device="npu")
    p = nn.Parameter(flat[4:16].view(3, 4).t())  # a strided view that starts inside `flat`
    p.grad = flat_grad[4:16].view(3, 4).t()
    (p * torch.arange(12.0, device="npu").view(4, 3)).sum().backward()
    assert p.grad.data_ptr() == flat_grad.data_ptr() + 16
    assert flat_grad[4:].view(3, 4).t().cpu().flatten().tolist() == list(range(12))
    torch._foreach_zero_([flat])
    assert not p.any() and flat.as_strided((2, 2), (8, 1), 4).add_(1).sum() == 4 == p.sum()


@pytest.mark.parametrize("where,expected", [("cpu", "cpu"), ("npu:2", "npu:2"), (None, "npu:1"),
                                            ({"npu:1": "npu:3"}, "npu:3")])
def test_saved_and_loaded(npu, where, expected):
    net = small_net().to("npu:1")
    optimizer = torch.optim.Adam(net.parameters(), fused=True)
    net(torch.ones(2, 3, 8, 8, device="npu:1")).sum().backward()
    optimizer.step()
    file = io.BytesIO()
    torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    loaded = torch.load(file, map_location=where, weights_only=True)
    assert {str(v.device) for v in loaded["net"].values()} == {expected}
    assert all(torch.equal(v.cpu(), loaded["net"][k].cpu()) for k, v in net.state_dict().items())
    twin = copy.deepcopy(net)
    assert next(twin.parameters()).device == torch.device("npu:1")
    twin.load_state_dict(loaded["net"])


def test_pinned_batches_from_workers(npu):
    data = TensorDataset(torch.arange(8.0))
    batches = [b for (b,) in DataLoader(data, batch_size=4, num_workers=1, pin_memory=True)]
    assert all(b.is_pinned() for b in batches) and not torch.ones(1).is_pinned()
    assert torch.cat([b.to("npu", non_blocking=True) for b in batches]).cpu().tolist() == list(range(8))


@pytest.mark.filterwarnings("ignore:An output with one or more elements was resized")
def test_outputs_that_a_kernel_resizes(npu):
    a, b = torch.randn(2, 3, 4), torch.randn(2, 3, 4)  # these losses enlarge their 0-d output, then shrink it
    for loss in (F.mse_loss, F.smooth_l1_loss):
        assert torch.equal(loss(a.to("npu"), b.to("npu")).cpu(), loss(a, b))
    images = torch.randn(2, 3, 5, 5).contiguous(memory_format=torch.channels_last)
    padded = F.pad(images.to("npu"), (1, 1, 1, 1), mode="replicate")  # changes its output's strides
    assert torch.equal(padded.cpu(), F.pad(images, (1, 1, 1, 1), mode="replicate"))
    before = torch.npu.memory_allocated()
    F.pad(images.to("npu"), (1, 1, 1, 1), mode="replicate")
    assert torch.npu.memory_allocated() == before
    out = torch.empty(0, device="npu")
    assert torch.add(a.to("npu"), 1, out=out) is out and torch.equal(out.cpu(), a + 1)
    assert out.resize_(3, 2).shape == (3, 2)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_autocast(npu, half):
    net, x = small_net().to("npu"), torch.randn(2, 3, 8, 8, device="npu")
    with torch.autocast("npu", dtype=half):
        y = net(x)
        assert y.dtype == half and torch.softmax(y, 1).dtype == torch.float32
    y.float().square().mean().backward()
    assert all(p.grad.dtype == torch.float32 for p in net.parameters())


def train(net, optimizer, device, steps=5):
    torch.manual_seed(1)
    for x in torch.randn(steps, 2, 3, 12, 12).to(device):
        F.l1_loss(F.interpolate(net(x), size=12, mode="nearest"), x).backward()
        torch._foreach_mul_([p.grad for p in net.parameters()], 0.5)
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
    return [p.detach().cpu() for p in net.parameters()]


def test_training_equals_the_cpu_bit_for_bit(npu):
    results = []
    for device in ("cpu", "npu:4"):
        net = small_net().to(device)
        results.append(train(net, torch.optim.Adam(net.parameters(), 1e-2, fused=True), device))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


# ---- the stand-in for torch_npu ----
def test_npu_fused_adam_follows_torch_adam(npu):
    import torch_npu
    # The two optimizers round differently, and so do the gradients after the first step. If a gradient is almost zero,
    # Adam divides that rounding error by little more than eps; eps 1e-3 instead of 1e-8 keeps the error small.
    options = {"lr": 1e-2, "betas": (0.5, 0.99), "eps": 1e-3, "weight_decay": 1e-3}
    ours, theirs = small_net().to("npu"), small_net()
    fused = torch_npu.optim.NpuFusedAdam(ours.parameters(), **options)
    fused.zero_grad()  # no gradients yet: nothing to combine
    a = train(ours, fused, "npu")
    b = train(theirs, torch.optim.Adam(theirs.parameters(), **options), "cpu")
    assert all(torch.allclose(x, y, atol=1e-6) for x, y in zip(a, b, strict=True))
    ours_states = list(fused.state_dict()["state"].values())
    assert len(ours_states) == len(a) and ours_states[0]["step"] == 5


def test_npu_fused_adam_has_the_real_ones_limits(npu):
    import torch_npu
    fused_adam = torch_npu.optim.NpuFusedAdam
    with pytest.raises(ValueError, match="set_to_none"):
        fused_adam(small_net().to("npu").parameters()).zero_grad(set_to_none=True)
    p = nn.Parameter(torch.zeros(2, device="npu", dtype=torch.bfloat16))
    p.grad = torch.ones_like(p)
    with pytest.raises(TypeError, match="float32 or float16"):
        fused_adam([p]).step()
    with pytest.raises(ValueError, match="learning rate"):
        fused_adam([p], lr=-1.0)
    # One flat parameter, as in the project's O2: its views move with it to the tensor that the optimizer builds.
    flat = nn.Parameter(torch.ones(8, device="npu"))
    flat.grad = torch.ones_like(flat)
    view, before = flat.detach()[2:4], flat.data_ptr()
    optimizer = fused_adam([flat], lr=0.1)
    optimizer.step()
    assert flat.data_ptr() != before and view.tolist() == pytest.approx([0.9, 0.9])
    late = fused_adam([nn.Parameter(torch.ones(8, device="npu"))], lr=0.1)
    late.load_state_dict(optimizer.state_dict())  # before the first step, so that it takes effect
    (q,) = late.param_groups[0]["params"]
    q.grad = torch.ones_like(q)
    late.step()
    assert late.state[q]["step"] == 2


# ---- separate processes ----
def test_a_process_gets_the_device_from_the_environment(npu):
    code = """
        import os
        os.environ["TORCH_DEVICE_BACKEND_AUTOLOAD"] = "0"
        import torch
        assert not hasattr(torch, "npu")
        import torch_npu
        from torch.npu import is_available
        assert torch.npu is torch_npu.npu and is_available()
        torch_npu.npu.set_compile_mode(jit_compile=False)
        torch.npu.config.allow_internal_format = False
        print(torch.ones(2, device="npu:1").sum(), torch_npu.__version__)
    """
    assert "npu:1" in run_python(code, PYTHONPATH=str(ROOT / "tests/npusim/site"))


DDP = """
    import os, sys
    os.environ["TORCH_DEVICE_BACKEND_AUTOLOAD"] = "0"
    import torch, torch_npu
    import torch.distributed as dist
    rank, file = int(sys.argv[1]), sys.argv[2]
    device = torch.device("npu", rank)
    torch.npu.set_device(device)
    backend = dist.get_default_backend_for_device(device)
    dist.init_process_group(backend, f"file://{file}", rank=rank, world_size=2)
    assert dist.get_backend() == "hccl"
    torch.manual_seed(rank)  # DDP must hand rank 0's weights to all
    net = torch.nn.parallel.DistributedDataParallel(
        torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).to(device), device_ids=[rank])
    optimizer = torch.optim.Adam(net.parameters(), fused=True)
    for step in range(3):
        optimizer.zero_grad()
        net(torch.full((2, 3, 6, 6), rank + step + 1.0, device=device)).square().mean().backward()
        optimizer.step()
    weight = net.module[0].weight.detach()
    both = [torch.empty_like(weight) for _ in range(2)]
    dist.all_gather(both, weight)
    assert torch.equal(*both)
    total = torch.tensor(float(rank + 1), device=device)
    dist.all_reduce(total)
    dist.broadcast(weight, src=1)
    dist.reduce(total.clone(), dst=0)
    names = [None, None]
    dist.all_gather_object(names, f"rank {rank}")
    shared = [{"seed": 7} if rank == 0 else None]
    dist.broadcast_object_list(shared, src=0, device=device)
    dist.barrier()
    try:
        dist.all_reduce(torch.ones(1))
        raise SystemExit("hccl took a CPU tensor")
    except RuntimeError as error:
        assert "cpu" in str(error)
    print(total.item(), names, shared[0]["seed"])
    dist.destroy_process_group()
"""


def test_two_processes_over_hccl(npu, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tests/npusim/site"), "OMP_NUM_THREADS": "1"}
    command = [warm_python(), "-c", textwrap.dedent(DDP)]
    ranks = [subprocess.Popen([*command, str(rank), str(tmp_path / "store")], env=environment, cwd=ROOT,
                              text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for rank in range(2)]
    for process in ranks:
        out, err = process.communicate(timeout=HUNG)
        assert process.returncode == 0, err[-3000:]
        assert out.strip().endswith("3.0 ['rank 0', 'rank 1'] 7")


def test_building_twice_at_once(npu, tmp_path):
    """Two processes start with an empty cache: one builds, both load. A small source replaces the real one."""
    code = """
        import sys, pathlib
        sys.path.insert(0, "tests/npusim")
        import build
        source = pathlib.Path(sys.argv[1]) / "tiny.cpp"
        build.SOURCES, build.NAME = (source,), "tiny"
        print(build.load_extension().answer())
    """
    (tmp_path / "tiny.cpp").write_text(
        '#include <Python.h>\nstatic PyObject* answer(PyObject*, PyObject*) { return PyLong_FromLong(42); }\n'
        'static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, ""}, {}};\n'
        'static PyModuleDef module = {PyModuleDef_HEAD_INIT, "tiny", "", -1, methods};\n'
        'PyMODINIT_FUNC PyInit_tiny() { return PyModule_Create(&module); }\n')
    environment = os.environ | {"NPUSIM_BUILD": str(tmp_path / "cache")}
    both = [subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], env=environment,
                             cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [p.communicate(timeout=HUNG)[0].strip() for p in both] == ["42", "42"]
    assert len(list((tmp_path / "cache").glob("*.so"))) == 1 and not list((tmp_path / "cache").glob("*.tmp"))
