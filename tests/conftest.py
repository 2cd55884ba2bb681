"""Shared fixtures: small random faces on disk, and a run small enough to train within a test."""
import utils  # noqa: F401, I001 (before torch: it sets variables that torch reads while it loads)

import os
import shutil
import tempfile

import pytest
import torch

pytest.register_assert_rewrite("tests.helpers")  # before they are imported: their asserts, too, show both sides

from tests.helpers.faces import write_faces  # noqa: E402
from tests.helpers.runs import TINY  # noqa: E402
from tests.helpers.warm_python import FOLDER  # noqa: E402

# The networks are too small for more than one thread: several would only wait for one another. Results hold with any.
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


def pytest_configure(config):
    """Name the folder of the server of tests/helpers/warm_python.py, for this process and pytest-xdist's workers."""
    if not hasattr(config, "workerinput"):
        os.environ[FOLDER] = tempfile.mkdtemp(prefix="warm_python_")
        os.environ[f"{FOLDER}_OWNER"] = str(os.getpid())


def pytest_unconfigure(config):
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ.pop(FOLDER))  # the server ends with this process


@pytest.fixture(scope="session")
def faces(tmp_path_factory):
    return write_faces(tmp_path_factory.mktemp("data") / "faces", 10)


@pytest.fixture
def train(tmp_path, faces):
    """train(*words, name=...) -> (exit status, run folder): one tiny run in this process."""
    from engine.trainer import Trainer
    from options.train_options import parse_train

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


@pytest.fixture
def weights(tmp_path):
    """A run's folder with the weights of an untrained network and the options that build it."""
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
    """A file of a face embedding's weights."""
    from models.face_embedding import MobileFaceNet
    from tests.helpers.released import fill
    path = tmp_path_factory.mktemp("embedding") / "mobilefacenet.pth"
    torch.save(fill(MobileFaceNet().state_dict()), path)
    return str(path)
