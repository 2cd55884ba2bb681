# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Low-resolution faces alone, and with references."""
import os

import numpy as np
import pytest
from PIL import Image

from data.face_folder import Place
from data.single_dataset import SingleDataset, match_names
from tests.helpers.faces import write_faces
from utils.errors import UserError
from utils.images import centre_square, list_images, resize


def test_single_enlarges_by_bicubic_and_finds_references(tmp_path):
    lr = write_faces(tmp_path / "lr", 2, size=(16, 16))
    hr = write_faces(tmp_path / "hr" / "deep", 2, size=(128, 128), first_seed=9)
    for path in list(hr.iterdir()):
        path.rename(path.with_suffix(".bmp"))
    lr_paths, hr_paths = (list_images(str(folder), "") for folder in (lr, hr.parent))
    sample = SingleDataset(lr_paths, 128, references=hr_paths)[Place(0, 1)]
    small = Image.open(lr_paths[1])
    assert np.array_equal(sample["lr"], np.asarray(small.resize((128, 128), Image.Resampling.BICUBIC)))
    assert "hr" not in SingleDataset(lr_paths, 128)[Place(0, 1)]
    with pytest.raises(UserError, match=r"--gtroot: one reference named 001\.\* is needed.*there is none"):
        SingleDataset(lr_paths, 128, references=hr_paths[:1])


@pytest.mark.parametrize("size", [(24, 20), (12, 12), (16, 16), (128, 130)])
def test_an_image_is_taken_to_the_size_of_the_training(tmp_path, size):
    write_faces(tmp_path, 1, size=size)
    paths = list_images(str(tmp_path), "")
    sample = SingleDataset(paths, 128, trained_side=16)[Place(0, 0)]
    with Image.open(paths[0]) as image:
        square, given = centre_square(size), resize(image, 128, centre_square(size))
        taken = given if min(size) in (16, 128) else resize(resize(image, 16, square), 128)
    assert np.array_equal(sample["lr"], np.asarray(taken)) and np.array_equal(sample["given"], np.asarray(given))
    assert sample["side"] == min(size)
    plain = SingleDataset(paths, 128)[Place(0, 0)]
    assert np.array_equal(plain["lr"], sample["given"]) and "given" not in plain


def pairs(tmp_path, inputs, references):
    """Returns match_names' pairs of two folders with these files, relative to them."""
    for folder, names in (("lr", inputs), ("hr", references)):
        for name in names:
            (tmp_path / folder / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / name).touch()
    found = match_names(*(list_images(str(tmp_path / folder), "") for folder in ("lr", "hr")))
    return {os.path.relpath(a, tmp_path / "lr"): os.path.relpath(b, tmp_path / "hr") for a, b in found.items()}


@pytest.mark.parametrize("expected", [
    {"a/0.png": "a/0.jpg", "b/0.png": "b/0.jpg"},  # the same tree on both sides
    {"a/0.png": "0.png", "b/0.png": "0.png"},  # two kinds of degradation of one face
    {"0.png": "train/0.png", "1.png": "1.png"},
    {"0801x8.png": "0801.png", "X4/0802x4.png": "0802.png"},
    {"0801x8.png": "0801x8.png"},
    {"a.jpg": "a.jpg", "a.png": "a.png"},
    {"e\u0301.png": "\u00e9.png"}])
def test_references_are_found_by_folder_name_and_scale(tmp_path, expected):
    assert pairs(tmp_path, expected, expected.values()) == expected


@pytest.mark.parametrize("inputs, references", [
    (["0.png"], ["a/0.png", "b/0.png"]), (["0.png"], ["0.png", "0.jpg"]), (["a/0.png", "b/0.png"], ["a/0.png"]),
    (["0x8.png"], ["0.png", "0.bmp"]), (["01.png"], ["1.png"])])
def test_ambiguous_and_missing_references_are_refused(tmp_path, inputs, references):
    with pytest.raises(UserError, match="--gtroot: one reference named .* is needed"):
        pairs(tmp_path, inputs, references)
