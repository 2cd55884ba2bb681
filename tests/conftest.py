"""Shared fixtures: small random faces on disk, and a run small enough to train within a test."""
import utils  # noqa: F401, I001 (before torch: it sets variables that torch reads while it loads)

import numpy as np
import pytest
import torch
from PIL import Image

torch.set_num_threads(1)  # the networks are too small for more: threads would only wait for one another

TINY = ["--load_size", "32", "--min_ch", "4", "--max_ch", "8", "--hourglass_ch", "4", "--res_depth", "0",
        "--bottleneck_size", "16", "--batch_size", "3", "--workers", "0", "--print_freq", "2", "--device", "cpu"]


def write_faces(folder, count, size=(40, 40), first_seed=0):
    """`count` smooth random colour pictures as PNG files; not faces, but as good for what is tested with them."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        noise = np.random.default_rng(first_seed + i).integers(0, 256, (5, 5, 3), dtype=np.uint8)
        Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).save(folder / f"{i:03d}.png")
    return folder


@pytest.fixture(scope="session")
def faces(tmp_path_factory):
    return write_faces(tmp_path_factory.mktemp("data") / "faces", 10)


@pytest.fixture
def train(tmp_path, faces):
    """train(*words, name=...) -> (exit status, run folder): one tiny run in this process."""
    from options.train_options import parse_train
    from utils.trainer import Trainer

    def run(*words, name="run", dataroot=faces):
        options = parse_train([*TINY, "--dataroot", str(dataroot), "--checkpoints_dir", str(tmp_path), "--name", name,
                               *map(str, words)])
        return Trainer(options).fit(), tmp_path / name
    return run


@pytest.fixture
def one_thread():
    """Ranks compute in one thread each; several would add up in another order, and Adam makes much of such rounding."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def pytest_collection_finish(session):
    """Register the simulated NPU before the first backward of the process, where any test will want it.

    Autograd makes its queues, one a device, at the first backward; devices that come later have none.
    """
    if any("npu" in getattr(item, "fixturenames", ()) for item in session.items):
        from npusim.build import NoCompiler  # not at the top: it registers the device
        try:
            import npusim
        except NoCompiler:
            return  # the fixture says so
        torch.ones((), requires_grad=True).backward()
        npusim.set_visible(0)


@pytest.fixture
def npu():
    """The module npusim, its eight devices visible during this test only."""
    from npusim.build import NoCompiler
    try:
        import npusim
    except NoCompiler as error:
        pytest.skip(str(error))
    npusim.set_visible(npusim.DEVICES)
    yield npusim
    npusim.set_visible(npusim.DEVICES)
    torch.npu.ban([])
    torch.npu.set_device(0)
    npusim.set_visible(0)
