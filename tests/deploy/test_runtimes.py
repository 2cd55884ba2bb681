# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""A deployed file restores what the Restorer restores: without torch, in two runtimes, and through newtest.py."""
import json
import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
from PIL import Image

from data.degradations import grey as grey_of_training
from data.seg2face_dataset import centred_map
from deploy import runtimes
from deploy.exporter import Exporter
from options.export_options import parse_export
from options.test_options import parse_test
from restore.restorer import Restorer
from tests.helpers.deployed import SMALL, save_recipe
from tests.helpers.faces import write_faces
from tests.helpers.paths import ROOT
from tests.helpers.processes import HUNG
from tests.helpers.runs import restore
from utils.errors import UserError
from utils.onnx_file import checked_content
from utils.pretrained import FOLDER

BANNED = ("torch", "cv2", "skimage", "matplotlib", "onnx", "safetensors", "filelock")
WITHOUT_TORCH = """
import sys
for name in {banned}:
    sys.modules[name] = None
import numpy as np
from PIL import Image
from deploy import runtimes
restore = runtimes.load(sys.argv[1], threads=1)
faces = restore([np.asarray(Image.open(path).convert("RGB")) for path in sys.argv[3:]])
np.save(sys.argv[2], np.stack(faces))
"""


def deployed(folder, options, **known):
    """Returns (weights, .onnx file) of a network with random weights."""
    weights = save_recipe(folder, options, **known)
    Exporter(parse_export(["--pth_path", str(weights), "--output_path", str(folder / "out"), "--name", "net"])).run()
    return weights, folder / "out" / "net.onnx"


@pytest.fixture(scope="module")
def sparnet(tmp_path_factory):
    return deployed(tmp_path_factory.mktemp("sparnet"), SMALL["sparnet"])


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Returns images of several sizes and their paths."""
    folder = tmp_path_factory.mktemp("pictures")
    for place, size in enumerate([(4, 4), (40, 44), (33, 20), (32, 32)]):
        write_faces(folder / str(place), 1, size=size, first_seed=place)
    paths = sorted(folder.rglob("*.png"))
    return [np.asarray(Image.open(path)) for path in paths], paths


def close(found, wanted):
    return all(np.abs(a.astype(int) - b).max() <= 1 for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_arrays_become_what_the_restorer_makes_of_them(sparnet, pictures, runtime):
    weights, path = sparnet
    wanted = Restorer.load(weights, "cpu")(pictures[0])
    net = runtimes.load(path, runtime, threads=1, batch_size=3)
    found = net(pictures[0])
    assert all(face.dtype == np.uint8 and face.shape == (32, 32, 3) for face in found) and net.size == 32
    assert close(found, wanted) and net([]) == []
    restorer = Restorer.load(path, runtime=runtime)
    assert close(restorer(pictures[0]), wanted)
    assert (restorer.parameters, restorer.description) == (Restorer.load(weights, "cpu").parameters,
                                                           Restorer.load(weights, "cpu").description)


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_the_path_may_have_any_bytes(sparnet, pictures, tmp_path, runtime):
    path = tmp_path / os.fsdecode(b"\xc3\xfb.onnx")  # GBK
    path.write_bytes(sparnet[1].read_bytes())
    wanted = runtimes.load(sparnet[1], threads=1)(pictures[0])
    assert close(runtimes.load(path, runtime, threads=1)(pictures[0]), wanted)


def test_it_runs_where_torch_cannot_be_imported(sparnet, pictures, tmp_path):
    program = tmp_path / "serve.py"
    program.write_text(WITHOUT_TORCH.format(banned=BANNED))
    done = subprocess.run([sys.executable, str(program), str(sparnet[1]), str(tmp_path / "faces.npy"),
                           *map(str, pictures[1])], capture_output=True, text=True, timeout=HUNG, cwd=ROOT,
                          env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    assert close(np.load(tmp_path / "faces.npy"), Restorer.load(sparnet[0], "cpu")(pictures[0]))


SIGNALLED = """
import os, signal, sys, threading
import numpy as np
from utils.onnx_file import OnnxNetwork
networks = [OnnxNetwork(sys.argv[1], sys.argv[2], threads=1)]
networks[0](np.zeros((1, 3, 32, 32), np.float32))
thread = threading.Thread(target=networks.clear)  # frees the network
thread.start()
thread.join()
signal.signal(signal.SIGTERM, lambda number, frame: print("noted", flush=True))
os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_a_signal_after_a_network_was_freed_in_another_thread_is_no_crash(sparnet, runtime):
    done = subprocess.run([sys.executable, "-c", SIGNALLED, str(sparnet[1]), runtime], capture_output=True, text=True,
                          timeout=HUNG, cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, "noted\n"), done.stderr


@pytest.mark.parametrize("task", ["colorization", "seg2face"])
def test_tasks_prepare_their_inputs_as_the_restorer_does(tmp_path, task):
    weights, path = deployed(tmp_path, SMALL["gpen"] | {"dataset_name": task})
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 19, (40, 30)).astype(np.uint8)] if task == "seg2face" else \
        [rng.integers(0, 256, (40, 30, 3)).astype(np.uint8), np.full((16, 16, 3), 7, np.uint8)]
    assert close(runtimes.load(path, threads=1)(images), Restorer.load(weights, "cpu")(images))


def test_grey_and_nearest_are_those_of_the_training():
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (300, 300, 3)).astype(np.uint8)
    assert np.array_equal(runtimes.grey(colours), grey_of_training(colours))
    for size in ((16, 16), (40, 31), (7, 90), (512, 300), (1000, 1024)):
        values = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
        for side in (16, 32, 256, 1024):
            assert np.array_equal(runtimes.nearest_square(values, side), centred_map(values, side)), (size, side)


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_newtest_scores_with_a_deployed_file(sparnet, tmp_path, runtime):
    faces = write_faces(tmp_path / "faces", 3, size=(40, 40))
    wanted = json.loads((restore(tmp_path / "a", sparnet[0], "--gtroot", faces) / "scores.json").read_text())
    folder = restore(tmp_path / "b", sparnet[1], "--gtroot", faces, "--runtime", runtime, "--batch_size", 2)
    found = json.loads((folder / "scores.json").read_text())
    assert found["parameters"] == wanted["parameters"] and len(list((folder / "restored").iterdir())) == 3
    for protocol, scores in wanted["protocols"].items():
        assert found["protocols"][protocol]["restored"]["psnr"] == pytest.approx(scores["restored"]["psnr"], abs=0.02)


def test_bad_files_and_options_are_one_line(sparnet, tmp_path, monkeypatch):
    weights, path = sparnet
    content = path.read_bytes()

    def refused(message, content=None, call=runtimes.load, **options):
        bad = tmp_path / "bad.onnx"
        bad.write_bytes(content if content is not None else path.read_bytes())
        with pytest.raises(UserError, match=message) as error:
            call(bad, **options)
        assert "\n" not in str(error.value)
    for call in (runtimes.load, Restorer.load):
        refused("cut short or damaged", content[:-1000], call)
        refused("cut short or damaged", b"<html>not a model</html>", call)
        refused("its checksum is wrong", content[:5000] + bytes([content[5000] ^ 1]) + content[5001:], call)
        refused("cut short or damaged", b"", call)
        refused("does not describe a restoring network", (FOLDER / "yunet" / "yunet_n_dynamic.onnx").read_bytes(), call)
        refused("runtime 'tensorrt': it is one of onnx, openvino", call=call, runtime="tensorrt")
        refused("runtime onnx: the package onnxruntime cannot be imported .*requirements-deploy.txt", call=_without(
            monkeypatch, "onnxruntime", call))
    model = onnx.load(path)  # whole and checked, but no runtime can compute it
    model.graph.node[0].op_type = "NoSuchOperator"
    del model.metadata_props[-1]
    refused("the runtime cannot load it: ", checked_content(model.SerializeToString()))
    refused("its precision was chosen when it was exported", call=Restorer.load, precision="O1")
    with pytest.raises(UserError, match="there is no such file"):
        runtimes.load(tmp_path / "gone.onnx")
    with pytest.raises(UserError, match="runtime onnx computes .onnx files of newexport.py, not weights"):
        Restorer.load(weights, "cpu", runtime="onnx")
    for words, message in ((["--pth_path", weights, "--runtime", "onnx"], "--runtime onnx computes an .onnx file"),
                           (["--pth_path", path, "--runtime", "torch"], "argument --runtime: invalid choice")):
        with pytest.raises(UserError, match=message):
            parse_test([*map(str, words), "--gtroot", "."])
    faces = write_faces(tmp_path / "faces", 1)
    for words, message in ((["--min_ch", "5"], "another min_ch than the options ask for"),
                           (["--load_size", "64"], "another input_size"),
                           (["--model", "gpen"], "another model than")):
        with pytest.raises(UserError, match=message):
            restore(tmp_path, path, "--dataroot", faces, *words)


def _without(monkeypatch, package, call):
    def called(path):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            call(path)
    return called


@pytest.mark.parametrize("image, message", [
    (np.zeros((8, 8, 3)), "image 1: a uint8 array"), (np.zeros((8, 8), np.uint8), r"image 1: its shape is \(8, 8\)"),
    (np.zeros((0, 8, 3), np.uint8), "image 1: a uint8 array"), ("face.png", "image 1: a uint8 array")])
def test_what_is_no_image_is_one_line(sparnet, image, message):
    with pytest.raises(UserError, match=message):
        runtimes.load(sparnet[1], threads=1)([np.zeros((8, 8, 3), np.uint8), image])


def test_nan_is_not_an_image():
    with pytest.raises(UserError, match="holds nan"):
        runtimes.quantize(np.full((1, 3, 2, 2), np.nan, np.float32))
