# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The tools that prepare inputs: grey copies, and .npz files for offline inference."""
import os
import shutil
import sys
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from data.drawn.builtin_faces import draw_face
from data.seg2face_dataset import PALETTE
from data.single_dataset import SingleDataset
from tests.helpers.faces import write_faces
from tools import grey_copies, pack_faces, show_degradations, show_priors, write_npz
from utils.errors import UserError
from utils.images import resize, to_tensor_range


@pytest.fixture
def nested(tmp_path):
    """Returns a folder with three nested images, two with the same stem, and a corrupted file."""
    faces = write_faces(tmp_path / "faces" / "deep", 2, size=(40, 30)).parent
    Image.open(faces / "deep" / "000.png").save(faces / "deep" / "000.jpg")
    (faces / "broken.png").write_bytes(b"no picture")
    return faces


def test_grey_copies_keep_names_and_sizes(tmp_path, nested, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["grey_copies", str(nested), str(tmp_path / "grey")])
    grey_copies.main()
    out = capsys.readouterr()
    assert "3 grey copies" in out.out and "skipped" in out.err and "broken.png" in out.err
    names = {p.relative_to(tmp_path / "grey").as_posix() for p in (tmp_path / "grey").rglob("*.png")}
    assert names == {"deep/000.jpg.png", "deep/000.png.png", "deep/001.png"}
    copy, original = (Image.open(p / "deep" / "001.png") for p in (tmp_path / "grey", nested))
    assert copy.mode == "RGB" and copy.size == (40, 30) and not np.ptp(np.asarray(copy), axis=2).any()
    assert np.abs(np.asarray(copy)[..., 0].astype(int) - np.asarray(original.convert("L"))).max() <= 1


@pytest.mark.parametrize("make", [grey_copies.copy_grey, lambda *a: write_npz.write_inputs(*a, 32)])
def test_nothing_is_written_into_the_input(tmp_path, nested, make):
    for target in (nested, nested / "deep", tmp_path, tmp_path / "x" / ".." / "faces" / "new"):
        with pytest.raises(UserError, match="one folder contains the other; choose a separate TARGET"):
            make(nested, target)
    assert len([p for p in tmp_path.rglob("*") if p.is_file()]) == 4
    with pytest.raises(UserError, match="FACES: the folder .* does not exist"):
        make(tmp_path / "none", tmp_path / "target")
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot write .* is not a folder"):
        make(nested, tmp_path / "file")
    shutil.rmtree(nested / "deep")
    with pytest.raises(UserError, match="FACES: none of the 1 images"):
        make(nested, tmp_path / "target")


@pytest.mark.parametrize("make", [grey_copies.copy_grey, lambda *a: write_npz.write_inputs(*a, 32)])
def test_a_target_that_holds_files_is_refused_unchanged(tmp_path, nested, make):
    target = tmp_path / "target"
    target.mkdir()
    (target / ".hidden").touch()
    for there in ("inputs.txt", "zz"):  # a file that would be replaced, and one that would be taken for a copy
        (target / there).write_text("mine")
        with pytest.raises(UserError, match=f"TARGET .*target: it already holds files, e.g. {there}: choose a new or"):
            make(nested, target)
        assert {path.name for path in target.iterdir()} == {".hidden", there}
        (target / there).unlink()
    assert make(nested, target) == 3
    with pytest.raises(UserError, match="it already holds files"):  # of the earlier call
        make(nested, target)


def test_npz_files_hold_what_the_network_gets(tmp_path, nested, monkeypatch, capsys):
    target = tmp_path / "npz"
    monkeypatch.setattr(sys, "argv", ["write_npz", str(nested), str(target), "--load_size", "48"])
    write_npz.main()
    out = capsys.readouterr()
    assert "3 files, listed in inputs.txt; key input, float32 1x3x48x48" in out.out and "broken.png" in out.err
    names = (target / "inputs.txt").read_text().splitlines()
    assert names == ["deep/000.jpg.npz", "deep/000.png.npz", "deep/001.npz"]
    stored = np.load(target / names[2])
    assert stored.files == ["input"]
    array = stored["input"]
    picture = SingleDataset([str(nested / "deep" / "001.png")], 48)[0, 0]["lr"]
    assert array.dtype == np.float32 and array.shape == (1, 3, 48, 48) and array.flags.c_contiguous
    assert np.array_equal(array, to_tensor_range(torch.from_numpy(picture.copy())[None]).numpy())


def test_npz_files_of_a_network_for_faces_of_one_size_hold_them_at_that_size(tmp_path, monkeypatch):
    faces = write_faces(tmp_path / "faces", 1, size=(20, 20))
    for folder, words in (("npz", []), ("any", ["--degradation", "face128"])):
        monkeypatch.setattr(sys, "argv", ["write_npz", str(faces), str(tmp_path / folder), "--load_size", "32",
                                          "--dataset_name", "celeba", "--scale_factor", "4", *words])
        assert write_npz.main() == 0
    with Image.open(faces / "000.png") as face:
        sizes = [resize(resize(face, 8), 32), resize(face, 32)]
    for folder, wanted in zip(("npz", "any"), sizes, strict=True):
        array = np.load(tmp_path / folder / "000.npz")["input"]
        assert np.array_equal(array, to_tensor_range(torch.from_numpy(np.array(wanted))[None]).numpy())


def test_npz_inputs_are_those_of_the_task(tmp_path, nested):
    (nested / "broken.png").unlink()
    write_npz.write_inputs(nested, tmp_path / "grey", 32, "colorization")
    array = np.load(tmp_path / "grey" / "deep" / "001.npz")["input"]
    assert not np.ptp(array, axis=1).any() and array.std() > 0.1
    write_npz.write_inputs(nested, tmp_path / "also grey", 32, "ffhq", degradation="grey")
    assert np.array_equal(np.load(tmp_path / "also grey" / "deep" / "001.npz")["input"], array)
    (tmp_path / "maps").mkdir()
    parsing = draw_face(0, 32).parsing
    Image.fromarray(parsing).save(tmp_path / "maps" / "a.png")
    write_npz.write_inputs(tmp_path / "maps", tmp_path / "npz", 32, "seg2face")
    array = np.load(tmp_path / "npz" / "a.npz")["input"][0].transpose(1, 2, 0)
    assert np.array_equal(np.rint(array * 127.5 + 127.5).astype(np.uint8), PALETTE[parsing])


def test_skipped_images_show_in_the_exit_status(tmp_path, nested, monkeypatch, capsys):
    tools = ((grey_copies, []), (write_npz, ["--load_size", "16"]), (pack_faces, ["--size", "16"]),
             (show_degradations, ["--size", "16", "--columns", "1"]))
    for number, (tool, words) in enumerate(tools):
        target = tmp_path / f"target{number}.png"
        monkeypatch.setattr(sys, "argv", ["tool", str(nested), str(target), *words])
        assert tool.main() == 1 and target.exists()
        assert "error: 1 images were skipped" in capsys.readouterr().err
    (nested / "broken.png").unlink()
    monkeypatch.setattr(sys, "argv", ["tool", str(nested), str(tmp_path / "grey")])
    assert grey_copies.main() == 0


@pytest.mark.parametrize("tool", [pack_faces, show_degradations, show_priors])
def test_no_tool_replaces_a_face_by_its_result(tmp_path, nested, monkeypatch, tool):
    face = nested / "deep" / "of_mine.png"
    shutil.copy(next(path for path in nested.rglob("*.png") if path.name != "broken.png"), face)
    before = face.read_bytes()
    (tmp_path / "link.png").symlink_to(face)
    for target in (face, nested / "new.png", tmp_path / "link.png"):
        monkeypatch.setattr(sys, "argv", ["tool", str(nested), str(target)])
        with pytest.raises(UserError, match="choose a separate TARGET"):
            tool.main()
    assert face.read_bytes() == before and not (nested / "new.png").exists()


def test_names_that_are_not_utf8_are_packed(tmp_path):
    faces = write_faces(tmp_path / "faces", 2)
    os.rename(faces / "000.png", os.fsencode(faces) + b"/\xc4\xe3\n.png")
    assert pack_faces.pack(faces, tmp_path / "faces.zip", 32, 1)[0] == 2
    assert sorted(zipfile.ZipFile(tmp_path / "faces.zip").namelist()) == ["001.webp", "\\xc4\\xe3\\n.webp"]
