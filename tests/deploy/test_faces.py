# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The faces of a calibration: folders, lists of .npz files, and what is wrong with them."""
import os
import re
from pathlib import Path

import numpy as np
import pytest

from deploy.faces import evenly, faces_of, inputs_of
from restore.description import Description
from tests.helpers.faces import write_faces
from tools.write_npz import write_inputs
from utils.errors import UserError
from utils.images import Skipped

SMALL = Description(input_size=32)


def test_faces_are_degraded_as_in_training_and_have_references(faces):
    found = faces_of(faces, "--calibroot", SMALL, 4, Skipped())
    assert len(found) == 4 and found.has_references
    assert found[0].shape == (1, 3, 32, 32) and found[0].dtype == np.float32 and np.abs(found[0]).max() <= 1
    assert found.reference(3).shape == (32, 32, 3) and found.reference(3).dtype == np.uint8
    assert evenly(4, 10).tolist() == [0, 3, 6, 9] and evenly(20, 3).tolist() == [0, 1, 2]


def test_a_list_of_npz_files_holds_the_same_inputs(tmp_path, faces):
    write_inputs(faces, tmp_path / "npz", 32, "celeba")
    found = faces_of(tmp_path / "npz" / "inputs.txt", "--calibroot", SMALL, 100, Skipped())
    straight = inputs_of(faces, "--dataroot", SMALL, 100, Skipped())
    assert len(found) == len(straight) == 10 and not found.has_references
    assert all(np.array_equal(a, b) for a, b in zip(found, straight, strict=True))


@pytest.mark.parametrize("form", ["npy", "bin"])
def test_other_arrays_calibrate_as_well(tmp_path, faces, form):
    write_inputs(faces, tmp_path / form, 32, "celeba", form=form)
    found = faces_of(tmp_path / form / "inputs.txt", "--calibroot", SMALL, 2, Skipped())
    assert np.array_equal(found[1], inputs_of(faces, "--dataroot", SMALL, 2, Skipped())[1])


def test_bad_folders_are_one_line(tmp_path, faces):
    with pytest.raises(UserError, match="--calibroot: the folder .*none does not exist"):
        faces_of(tmp_path / "none", "--calibroot", SMALL, 8, Skipped())
    with pytest.raises(UserError, match="--calibroot: .* has 10 faces; 20 or more are needed"):
        faces_of(faces, "--calibroot", SMALL, 20, Skipped(), fewest=20)
    broken = write_faces(tmp_path / "faces", 2)
    (broken / "001.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match="has 1 faces that can be read; 2 or more"):
        faces_of(broken, "--calibroot", SMALL, 2, Skipped(), fewest=2)


def test_a_bad_image_costs_one_image(tmp_path, capsys):
    folder, skipped = write_faces(tmp_path / "faces", 4), Skipped()
    (folder / "001.png").write_bytes(b"no picture")
    found = faces_of(folder, "--calibroot", SMALL, 4, skipped)
    assert [os.path.basename(name) for name in found.names] == ["000.png", "002.png", "003.png"]
    rest = faces_of(write_faces(tmp_path / "whole", 4), "--calibroot", SMALL, 4, Skipped())
    assert np.array_equal(found[1], rest[2]) and np.array_equal(found.reference(1), rest.reference(2))
    assert skipped.exit_status() == 1 and "001.png: cannot identify an image" in capsys.readouterr().err


@pytest.mark.parametrize("content, match", [
    (b"", "cannot be read: "), (b"PK\x03\x04damaged", "cannot be read: "), (None, "there is no such file"),
    ({"input": np.zeros((1, 3, 16, 16), np.float32)}, r"float32 \[1, 3, 16, 16\]; floats .* \[1, 3, 32, 32\]"),
    ({"input": np.zeros((1, 3, 32, 32), np.uint8)}, "is uint8"),
    ({"input": np.full((1, 3, 32, 32), np.nan)}, "not finite"),
    ({"input": np.full((1, 3, 32, 32), 1e300)}, "not finite in float32"),
    ({"input": np.array([None])}, "cannot be read: "),
    ({"a": np.zeros(2), "b": np.zeros(2)}, r"holds 2 arrays \(a, b\)")])
def test_bad_npz_files_are_one_line(tmp_path, content, match):
    path = tmp_path / "a.npz"
    if isinstance(content, dict):
        np.savez(path, **content)
    elif content is not None:
        path.write_bytes(content)
    np.savez(tmp_path / "good.npz", input=np.zeros((1, 3, 32, 32), np.float32))
    (tmp_path / "list.txt").write_text("a.npz\ngood.npz\n", encoding="utf-8")
    skipped = Skipped()
    found = faces_of(tmp_path / "list.txt", "--calibroot", SMALL, 8, skipped)
    message, = skipped.messages
    assert [Path(name).name for name in found.names] == ["good.npz"]
    assert re.search(match, message) and "\n" not in message and "a.npz" in message
    with pytest.raises(UserError, match="has 1 faces that can be read; 2 or more are needed"):
        faces_of(tmp_path / "list.txt", "--calibroot", SMALL, 8, Skipped(), fewest=2)


def test_a_damaged_npz_file_is_found(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", input=np.random.default_rng(0).normal(size=(1, 3, 32, 32)))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[len(content) // 2] ^= 255
    (tmp_path / "a.npz").write_bytes(content)
    (tmp_path / "list.txt").write_text("a.npz\n", encoding="utf-8")
    with pytest.raises(UserError, match="0 faces that can be read"):
        faces_of(tmp_path / "list.txt", "--calibroot", SMALL, 8, Skipped())


def test_an_empty_list_is_refused(tmp_path):
    (tmp_path / "list.txt").write_text("\n\n", encoding="utf-8")
    with pytest.raises(UserError, match="names no file"):
        faces_of(tmp_path / "list.txt", "--calibroot", SMALL, 8, Skipped())
