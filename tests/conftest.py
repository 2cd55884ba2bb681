# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Shared fixtures: small random images on disk, tiny training runs, the simulated NPU, and weights files."""
import utils  # noqa: F401, I001 (before torch: it sets environment variables that torch reads during import)

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import pytest
import torch

pytest.register_assert_rewrite("tests.helpers")  # before their import: their asserts then show both operands

import engine.precision  # noqa: E402
import utils.device  # noqa: E402
import utils.processor  # noqa: E402
from tests.helpers.faces import write_faces  # noqa: E402
from tests.helpers.paths import SIMULATED_NPU  # noqa: E402
from tests.helpers.runs import TINY  # noqa: E402
from tests.helpers.warm_python import FOLDER  # noqa: E402
from utils.files import replacing  # noqa: E402
from utils.processor import Processor  # noqa: E402

# One thread by default: more threads slow down such small networks. Tests pass with any number of threads.
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


def pytest_configure(config):
    """Sets the folder of warm_python's server (tests/helpers/warm_python.py) for this process and xdist's workers.

    Under nohup SIGHUP is ignored, in the background of a script SIGINT, and so in the programs that tests start. With a
    handler here they get the default.
    """
    for number in (signal.SIGHUP, signal.SIGINT):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, lambda number, frame: None)
    if not hasattr(config, "workerinput"):
        os.environ[FOLDER] = tempfile.mkdtemp(prefix="warm_python_")
        os.environ[f"{FOLDER}_OWNER"] = str(os.getpid())


def pytest_unconfigure(config):
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ.pop(FOLDER))  # the server ends when this process does


@pytest.fixture(scope="session", autouse=True)
def curves_of_a_kind_drawn_once():
    """Draws curves.png once for all trainings of this process whose records have the same fields and signs of losses.

    Later ones get that picture: matplotlib takes as long as several steps of a tiny training.
    """
    from engine import report, run_report
    drawn = {}

    def write_curves(records, input_title, path):
        kind = input_title, *sorted({
            (r["kind"], *sorted(r), *(key for key in r if key.startswith("Loss_") and r[key] <= 0)) for r in records})
        if kind in drawn:
            with replacing(path) as file:
                file.write(drawn[kind])
        else:
            report.write_curves(records, input_title, path)
            drawn[kind] = Path(path).read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_report, "write_curves", write_curves)
        yield


@pytest.fixture(scope="session")
def faces(tmp_path_factory):
    return write_faces(tmp_path_factory.mktemp("data") / "faces", 10)


@pytest.fixture(autouse=True)
def processor(monkeypatch):
    """Every test runs as on a CPU with bfloat16 instructions: O2 is then taken without --amp_dtype.

    Calling it with other abilities replaces them. Programs that a test starts see the real processor.
    """
    def has(*abilities):
        for module in (utils.processor, utils.device, engine.precision):
            monkeypatch.setattr(module, "processor", lambda: Processor("Test CPU", abilities))
    has("AVX2", "bf16")
    return has


@pytest.fixture
def train(tmp_path, faces):
    """Returns train(*words, name=...) -> (exit status, run folder), which runs a tiny training in this process."""
    from engine.trainer import Trainer
    from options.train_options import parse_train

    def run(*words, name="run", dataroot=faces):
        options = parse_train([*TINY, "--dataroot", str(dataroot), "--checkpoints_dir", str(tmp_path), "--name", name,
                               *map(str, words)])
        return Trainer(options).fit(), tmp_path / name
    return run


@pytest.fixture
def one_thread():
    """Computes in one thread, as each rank does: threads change the order of sums, and Adam amplifies that rounding."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def pytest_collection_finish(session):
    """Registers the simulated NPU before the process's first backward, if any collected test uses it.

    Autograd creates one queue per device at the first backward; a device registered later would have none.
    """
    if any("npu" in getattr(item, "fixturenames", ()) for item in session.items):
        from npusim.build import NoCompiler  # not at the top of this file: the import registers the device
        try:
            import npusim
        except NoCompiler:
            return  # the fixture `npu` skips with the reason
        torch.ones((), requires_grad=True).backward()
        npusim.set_visible(0)


@pytest.fixture
def npu(monkeypatch):
    """Yields the module npusim; its eight devices and the stand-in for torch_npu exist during this test only."""
    from npusim.build import NoCompiler
    monkeypatch.syspath_prepend(str(SIMULATED_NPU))
    try:
        import npusim
        import torch_npu
    except NoCompiler as error:
        pytest.skip(str(error))
    import utils.device
    monkeypatch.setattr(utils.device, "torch_npu", torch_npu)
    npusim.set_visible(npusim.DEVICES)
    yield npusim
    for name in [n for n in sys.modules if n.split(".")[0] == "torch_npu"]:
        del sys.modules[name]
    npusim.set_visible(npusim.DEVICES)
    torch.npu.ban([])
    torch.npu.set_device(0)
    npusim.set_visible(0)


@pytest.fixture
def same_rounding(monkeypatch):
    """Lets the CPU and the simulated NPU compute equal bits: torch's Adam and convolutions, and no channels_last."""
    import utils.device
    from models import convolution
    monkeypatch.setattr(convolution, "_is_slow", lambda x, weight: False)
    monkeypatch.setattr(utils.device, "memory_format", lambda device: torch.contiguous_format)
    monkeypatch.setattr(utils.device, "adam", lambda params, device, level, **options: torch.optim.Adam(
        params, fused=True, **options))


@pytest.fixture
def weights(tmp_path):
    """Saves an untrained network with its options.yml, as a run does; returns (weights file, network)."""
    from engine import checkpoint
    from models import build_training_recipe
    from options.train_options import parse_train
    torch.manual_seed(0)
    options = parse_train([*TINY, "--init_type", "kaiming"])
    net = build_training_recipe(options).networks["G"].eval()
    checkpoint.save_weights(tmp_path, "best", {"G": net})
    names = ("load_size", "min_ch", "max_ch", "hourglass_ch", "res_depth", "bottleneck_size", "batch_size")
    (tmp_path / "options.yml").write_text("".join(f"{n}: {getattr(options, n)}\n" for n in names))
    return tmp_path / "best_net_G.pth", net


@pytest.fixture(scope="session")
def embedding(tmp_path_factory):
    """Returns the path of a weights file of a face embedding."""
    from models.face_embedding import MobileFaceNet
    from tests.helpers.released import fill
    path = tmp_path_factory.mktemp("embedding") / "mobilefacenet.pth"
    torch.save(fill(MobileFaceNet().state_dict()), path)
    return str(path)
