# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Helen: squares around the landmarks, valid and invalid annotation, and the preset from end to end."""
import csv
import json
import re

import numpy as np
import pytest
from PIL import Image

from data.face_folder import Place
from data.face_parts import FACE_PARTS
from engine.trainer import Trainer
from options.train_options import parse_train
from tests.helpers.faces import helen_points, open_set
from tests.helpers.runs import restore
from utils.errors import UserError


def make_helen(root, centres, size=(400, 300)):
    """Writes images of coordinates (red: x / 2, green: y / 2) with Helen's points around `centres`, 100 pixels wide."""
    (root / "annotation").mkdir(parents=True)
    (root / "train_1").mkdir()
    y, x = np.mgrid[:size[1], :size[0]]
    picture = Image.fromarray(np.dstack([x / 2, y / 2, 0 * x]).round().astype(np.uint8))
    for i, centre in enumerate(centres):
        picture.save(root / "train_1" / f"face_{i}.png")
        points = helen_points() + centre
        lines = [f"face_{i}", *(f"{a:.3f} , {b:.3f}" for a, b in points)]
        (root / "annotation" / f"{i + 1}.txt").write_text("\r\n".join(lines) + "\r\n")
    return root


def test_faces_are_squares_about_their_landmarks(tmp_path):
    root = make_helen(tmp_path / "helen", [(200, 140), (60, 200), (390, 30)])
    faces = open_set("helen", root, load_size=128)
    shape = helen_points()
    extent = np.ptp(shape, axis=0)
    for i, centre in enumerate([(200, 140), (60, 200), (390, 30)]):
        sample = faces[Place(0, i)]
        assert sample["priors"].shape == (64, 64, 203)
        hr = sample["hr"].astype(float) * 2
        right, down = np.diff(hr[64, 8:-8, 0]).mean(), np.diff(hr[8:-8, 64, 1]).mean()
        assert right == pytest.approx(down, abs=0.05) and right * 128 == pytest.approx(2 * extent.max(), abs=4)
        step = 2 * extent.max() / 128
        middle = hr[63:65, 63:65, :2].mean((0, 1))
        origin = middle - 63.5 * step
        assert (origin > -2).all() and (origin + 127 * step < (401, 301)).all()
        for point in (0, 20, 40, 49, 124, 144):  # within a map pixel, which is 3 pixels of the image
            row, column = np.unravel_index(sample["priors"][..., point].argmax(), (64, 64))
            found = origin + (2 * np.array([column, row]) + 0.5) * step
            if column % 63 and row % 63:  # not at the edge
                assert np.abs(found - shape[point] - centre).max() < 3.5
        if i == 0:  # the other squares were moved into the image
            np.testing.assert_allclose(middle, (shape.max(0) + shape.min(0)) / 2 + centre, atol=1.5)


def test_upstream_and_flip_and_what_is_missing(tmp_path):
    root = make_helen(tmp_path / "helen", [(200, 140), (210, 150)])
    extent = np.ptp(helen_points(), axis=0)
    hr = open_set("helen", root, "upstream", 128)[Place(0, 0)]["hr"].astype(float) * 2
    steps = np.diff(hr[64, 8:-8, 0]).mean(), np.diff(hr[8:-8, 64, 1]).mean()
    np.testing.assert_allclose(np.multiply(steps, 128), 2 * extent, rtol=0.02)  # scaled differently in x and y
    faces = open_set("helen", root, "fixed", 128)
    flipped = 0
    for epoch in range(20):
        sample = faces[Place(epoch, 0)]
        flipped += sample["hr"][0, 0, 0] > sample["hr"][0, -1, 0]
        left, right = (np.argwhere(sample["priors"][..., 194 + FACE_PARTS.index(part)])[:, 1].mean()
                       for part in ("l_eye", "r_eye"))
        assert left > right
        columns = sample["priors"].max(0).argmax(0)
        assert columns[0] < columns[20] < columns[40] and columns[124] > columns[144]
    assert 3 < flipped < 17
    (root / "annotation" / "1.txt").unlink()
    faces = open_set("helen", root / "train_1", priors="none")  # the square still needs landmarks
    assert len(faces) == 1 and "face_0.png" in faces.warnings[0] and "priors" not in faces[Place(0, 0)]
    (root / "annotation" / "2.txt").unlink()
    with pytest.raises(UserError, match="none of the 2 pictures.*Looked for annotation/"):
        open_set("helen", root)


@pytest.mark.parametrize("spoil, match", [
    (lambda lines: lines[:2], "1.txt: after the image's name 194 lines of `x , y` are expected, not 1. Fix "
                              "the file, or remove it to skip its image"),
    (lambda lines: lines[1:], "1.txt: after the image's name 194 lines of `x , y` are expected, not 193"),
    (lambda lines: [], "1.txt: after the image's name .*, not 0"),
    (lambda lines: [*lines, "1 , 2"], "1.txt: after the image's name .*, not 195"),
    (lambda lines: [*lines[:9], "12 , ?", *lines[10:]], r"1.txt, line 10: `x , y` is expected, not '12 , \?'. Fix"),
    (lambda lines: [*lines[:9], "12", *lines[10:]], "1.txt, line 10: `x , y` is expected, not '12'"),
])
def test_a_damaged_annotation_is_named_with_its_line(tmp_path, spoil, match):
    root = make_helen(tmp_path / "helen", [(200, 140)])
    file = root / "annotation" / "1.txt"
    file.write_text("\r\n".join(spoil(file.read_text().splitlines())))
    with pytest.raises(UserError, match=match):
        open_set("helen", root)


def test_a_training_and_its_landmark_error(tmp_path, capsys):
    """Trains and tests a small variant of the preset. One of the images has no annotation."""
    root = make_helen(tmp_path / "helen", [(150 + 10 * i, 140) for i in range(5)])
    (root / "annotation" / "3.txt").unlink()
    options = parse_train(["--preset", "fsrnet_helen", "--load_size", "32", "--width", "4", "--enc_blocks", "1",
                           "--hourglasses", "1", "--batch_size", "2", "--train_steps", "2", "--workers", "0",
                           "--device", "cpu", "--dataroot", str(root), "--checkpoints_dir", str(tmp_path)])
    assert Trainer(options).fit() == 0
    warning = "warning: 1 of 5 pictures below .* have no annotation that .* left out: train_1/face_2.png"
    out = capsys.readouterr().out
    assert "Data: 4 faces" in out and re.search(warning, out)
    folder = restore(tmp_path, tmp_path / options.name / "latest_net_G.pth", "--gtroot", root)
    assert re.search(warning, capsys.readouterr().out)
    of_faces = list(csv.DictReader((folder / "faces.csv").read_text().splitlines()))
    assert [face["file"] for face in of_faces] == [f"train_1/face_{i}.png" for i in (0, 1, 3, 4)]
    errors = [float(face["landmark_error"]) for face in of_faces]
    found = json.loads((folder / "scores.json").read_text())["priors"]
    assert found["landmark_error"] == pytest.approx(np.mean(errors)) and found["faces"] == 4
    assert "jaw" in found["parsing_iou"]
