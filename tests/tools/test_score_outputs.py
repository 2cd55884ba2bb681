# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""tools/score_outputs.py against newtest.py: what a network gives is scored the same, from whichever file it comes."""
import json
import sys
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from metrics.psnr_ssim import psnr
from restore.restorer import Restorer
from tests.helpers.faces import write_faces
from tests.helpers.runs import restore
from tools import score_outputs, write_npz
from utils.errors import UserError
from utils.images import read_rgb, resize

SIZE = ["--load_size", "32"]


@pytest.fixture
def call(monkeypatch):
    def run(tool, *words):
        monkeypatch.setattr(sys, "argv", ["tool", *map(str, words)])
        return tool.main()
    return run


@pytest.fixture
def outputs(tmp_path, call, weights):
    """Returns (faces, weights, folder of outputs as ais_bench names them) of a tiny network."""
    faces = write_faces(tmp_path / "faces", 3, size=(40, 40))
    assert call(write_npz, faces, tmp_path / "in", "--clean", "--dataset_name", "celeba", *SIZE, "--format", "npy") == 0
    restorer = Restorer.load(weights[0], "cpu")
    (tmp_path / "out").mkdir()
    for name in (tmp_path / "in" / "inputs.txt").read_text(encoding="utf-8").splitlines():
        with torch.no_grad():
            restored = restorer.recipe.restore(torch.from_numpy(np.load(tmp_path / "in" / name)))
        np.save(tmp_path / "out" / name.replace(".npy", "_0.npy"), restored.numpy())
    return faces, weights[0], tmp_path / "out"


def test_outputs_are_scored_as_newtest_scores_the_network(tmp_path, call, outputs, capsys):
    faces, weights, folder = outputs
    assert call(score_outputs, folder, tmp_path / "scored", "--gtroot", faces, "--dataset_name", "celeba", *SIZE) == 0
    assert "Accuracy: " in capsys.readouterr().out
    results = restore(tmp_path, weights, "--gtroot", faces)
    expected, found = (json.loads((path / "scores.json").read_text(encoding="utf-8"))
                       for path in (results, tmp_path / "scored"))
    for protocol, rows in expected["protocols"].items():
        assert found["protocols"][protocol]["input"] == rows["input"]
        assert found["protocols"][protocol]["restored"]["psnr"] == pytest.approx(rows["restored"]["psnr"], abs=1e-3)
        assert found["protocols"][protocol]["restored"]["ssim"] == pytest.approx(rows["restored"]["ssim"], abs=1e-4)
    for name in ("000.png", "001.png", "002.png"):
        pictures = [np.asarray(Image.open(path / "restored" / name)).astype(int)
                    for path in (results, tmp_path / "scored")]
        assert np.abs(pictures[0] - pictures[1]).max() <= 1
    (tmp_path / "scored" / "mine.txt").touch()
    assert call(score_outputs, folder, tmp_path / "scored", "--gtroot", faces, "--dataset_name", "celeba", *SIZE) == 0
    assert (tmp_path / "scored.previous" / "mine.txt").exists()


def test_inputs_of_other_sizes_are_scored_as_they_were_given(tmp_path, call, outputs):
    """The network was trained on 4 pixels; the inputs have 20."""
    faces, weights, folder = outputs
    inputs = write_faces(tmp_path / "small", 3, size=(20, 20))
    words = ["--gtroot", faces, "--dataroot", inputs]
    assert call(score_outputs, folder, tmp_path / "scored", *words, "--dataset_name", "celeba", *SIZE) == 0
    results = restore(tmp_path, weights, *words)
    expected, found = (json.loads((path / "scores.json").read_text(encoding="utf-8"))["protocols"]
                       for path in (results, tmp_path / "scored"))
    assert all(found[protocol]["input"] == rows["input"] for protocol, rows in expected.items())
    given = [np.asarray(resize(read_rgb(path), 32)) for path in sorted(inputs.iterdir())]
    true = [np.asarray(resize(read_rgb(path), 32)) for path in sorted(faces.iterdir())]
    mean = np.mean([psnr(*pair, "rgb") for pair in zip(given, true, strict=True)])
    assert found["rgb"]["input"]["psnr"] == pytest.approx(mean, abs=1e-3)


def test_small_faces_are_scored_by_the_protocols_that_fit(tmp_path, call):
    faces = write_faces(tmp_path / "faces", 1, size=(16, 16))
    (tmp_path / "out").mkdir()
    np.save(tmp_path / "out" / "000.npy", np.zeros((1, 3, 16, 16), np.float32))
    assert call(score_outputs, tmp_path / "out", tmp_path / "scored", "--gtroot", faces, "--dataset_name", "celeba",
                "--load_size", "16") == 0
    found = json.loads((tmp_path / "scored" / "scores.json").read_text(encoding="utf-8"))
    assert set(found["protocols"]) == {"sparnet", "rgb"}


def test_other_files_and_a_list_hold_the_same(tmp_path, call, outputs):
    faces, _, folder = outputs
    arrays = [np.load(path) for path in sorted(folder.iterdir())]
    (tmp_path / "npz").mkdir()
    (tmp_path / "bin").mkdir()
    for number, array in enumerate(arrays):
        np.savez(tmp_path / "npz" / f"of_{number}.npz", restored=array)
        array.tofile(tmp_path / "bin" / f"{number:03d}.bin")
    (tmp_path / "list.txt").write_text("".join(f"npz/of_{number}.npz\n" for number in range(3)), encoding="utf-8")
    common = ["--gtroot", faces, "--dataset_name", "celeba", *SIZE]
    for name, words in {"a": [folder], "b": [tmp_path / "bin"],
                        "c": [tmp_path / "npz", "--npz_list", tmp_path / "list.txt"]}.items():
        assert call(score_outputs, words[0], tmp_path / "scores" / name, *words[1:], *common) == 0
    tables = [(tmp_path / "scores" / name / "faces.csv").read_text(encoding="utf-8") for name in "abc"]
    assert tables[0] == tables[1] == tables[2]


def test_bad_outputs_are_named_and_the_others_scored(tmp_path, call, outputs, capsys):
    faces, _, folder = outputs
    np.save(folder / "000_0.npy", np.zeros((1, 3, 16, 16), np.float32))
    (folder / "001_0.npy").write_bytes(b"\x93NUMPY nothing")
    common = ["--gtroot", faces, "--dataset_name", "celeba", *SIZE]
    assert call(score_outputs, folder, tmp_path / "scored", *common) == 1
    told = capsys.readouterr().err
    assert "it is float32 [1, 3, 16, 16]; floats of the shape [1, 3, 32, 32] are needed" in told
    assert "001_0.npy: it cannot be read" in told and "2 images were skipped" in told
    np.save(folder / "002_0.npy", np.full((3, 32, 32), np.nan, np.float32))
    with pytest.raises(UserError, match="none of the 3 outputs can be used"):
        call(score_outputs, folder, tmp_path / "scored", *common)
    (tmp_path / "list.txt").write_text("000_0.npy\n", encoding="utf-8")
    with pytest.raises(UserError, match="names 1 files, and there are 3 inputs"):
        call(score_outputs, folder, tmp_path / "scored", *common, "--npz_list", tmp_path / "list.txt")
    with pytest.raises(UserError, match="OUTPUTS .*: no output of any of the 3 inputs, e.g. 000.npz"):
        call(score_outputs, faces, tmp_path / "other", *common)
    with pytest.raises(UserError, match="TARGET .*/in and OUTPUTS .*: one folder contains the other"):
        call(score_outputs, folder, folder / "in", *common)


def test_damaged_outputs_cost_one_image_each(tmp_path, call, outputs, capsys):
    """An archive with a flipped byte, an encrypted or unknown one, content of another kind, a shape beyond memory."""
    faces, _, folder = outputs
    of_faces = ["--gtroot", faces, "--dataset_name", "celeba", *SIZE]
    array = np.load(folder / "000_0.npy")
    for name in ("000_0.npy", "001_0.npy"):
        (folder / name).unlink()
    packed = folder / "000.npz"
    np.savez_compressed(packed, restored=array)
    whole = bytearray(packed.read_bytes())

    def changed(place, value):
        return bytes(whole[:place]) + value + bytes(whole[place + len(value):])
    entry = whole.index(b"PK\x01\x02")  # of the archive's directory
    about = b"{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000000,), }"
    header = np.lib.format.magic(1, 0) + b"\x76\x00" + about.ljust(117) + b"\n"
    plain = tmp_path / "plain.npy"
    np.save(plain, array)
    with zipfile.ZipFile(tmp_path / "text.zip", "w") as archive:
        archive.writestr("readme.txt", "text")
    for content in (changed(60, b"\xff" * 8), changed(entry + 8, b"\x01"), changed(entry + 10, b"\x63"),
                    plain.read_bytes()[:100], (tmp_path / "text.zip").read_bytes(), header):
        packed.write_bytes(content)
        (folder / "001.npy").write_bytes(content)
        assert call(score_outputs, folder, tmp_path / "scored", *of_faces) == 1
        said = capsys.readouterr()
        assert said.err.count("warning: skipped: ") == 2 and "error: 2 images were skipped" in said.err
        assert "1 faces " in said.out
    packed.write_bytes(plain.read_bytes())  # the content counts, not the name
    (folder / "001.npy").write_bytes(bytes(whole))
    assert call(score_outputs, folder, tmp_path / "scored", *of_faces) == 0
