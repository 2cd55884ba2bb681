# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The example photos: every face in them is found, and before | after lie beside each other."""
import sys

import numpy as np
import pytest
from PIL import Image

from restore.face_finder import FaceFinder
from tools import photo_example
from utils.errors import UserError


def call(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["photo_example", *map(str, words)])
    photo_example.main()


def test_the_photos_hold_the_faces(tmp_path, monkeypatch):
    call(monkeypatch, "photos", tmp_path)
    assert len(FaceFinder()(np.asarray(Image.open(tmp_path / "astronaut.jpg")))) == 1
    found = FaceFinder()(np.asarray(Image.open(tmp_path / "group.jpg")))
    middles = [face.points.mean(0) for face in found]
    for left, top, side, _ in photo_example.FACES:
        assert sum(left < x < left + side and top < y < top + side for x, y in middles) == 1


def test_a_file_of_the_user_is_not_replaced(tmp_path, monkeypatch):
    (tmp_path / "group.jpg").write_bytes(b"the user's")
    with pytest.raises(UserError, match="group.jpg is there already"):
        call(monkeypatch, "photos", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["group.jpg"]
    (tmp_path / "group.jpg").unlink()
    for _ in range(2):  # its own files are no reason to refuse
        call(monkeypatch, "photos", tmp_path)


def test_before_is_enlarged_to_the_size_of_after(tmp_path, monkeypatch):
    for folder, size, grey in (("in", (20, 10), 50), ("out", (40, 20), 200)):
        (tmp_path / folder).mkdir()
        Image.new("L", size, grey).convert("RGB").save(tmp_path / folder / "a.jpg", quality=100)
    call(monkeypatch, "picture", tmp_path / "in", tmp_path / "out", tmp_path / "both.png")
    picture = np.asarray(Image.open(tmp_path / "both.png"))
    assert picture.shape == (20 + photo_example.GAP, 80 + photo_example.GAP, 3)
    assert abs(picture[5, 5].astype(int) - 50).max() < 3 and abs(picture[5, -5].astype(int) - 200).max() < 3


@pytest.mark.parametrize("words, message", [
    (["photos"], "required"), (["photos", "a", "b"], "give `photos OUT`"),
    (["picture", "a", "b", "c.txt"], "use an image extension"),
    (["picture", "a", "b", "c.png"], "there is no .jpg photo")])
def test_what_it_refuses(monkeypatch, tmp_path, words, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        call(monkeypatch, *words)
