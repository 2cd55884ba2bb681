# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The built-in faces: reproducible per seed, varied, with labels that match the landmarks."""

import csv
import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from data.drawn import builtin_faces
from data.drawn.builtin_faces import Face, draw_face, main, write_faces
from data.face_parts import CLASSES
from tests.helpers.faces import digest
from tests.helpers.paths import ROOT

LABEL = {name: index for index, name in enumerate(CLASSES)}


@pytest.fixture(scope="module")
def faces():
    return [draw_face(seed) for seed in range(150)]


def label_near(face, point, names, reach=1):
    """Returns whether a pixel of one of the classes lies within `reach` of the rounded point."""
    x, y = np.clip(np.round(point).astype(int), 0, len(face.parsing) - 1)
    around = face.parsing[max(0, y - reach):y + reach + 1, max(0, x - reach):x + reach + 1]
    return np.isin(around, [LABEL[name] for name in names]).any()


def centroid(mask):
    return np.argwhere(mask).mean(0)[::-1]


def test_types_and_ranges(faces):
    for face in faces[:10]:
        assert isinstance(face, Face)
        assert face.image.shape == (128, 128, 3) and face.image.dtype == np.uint8
        assert face.landmarks.shape == (68, 2) and face.landmarks.dtype == np.float32
        assert face.parsing.shape == (128, 128) and face.parsing.dtype == np.uint8
        assert face.parsing.max() < len(CLASSES) == 19
        assert face.image.std() > 15


def test_same_seed_gives_the_same_face_in_another_order_and_process(faces):
    assert digest(draw_face(7)) == digest(faces[7])
    code = ("from data.drawn.builtin_faces import draw_face\n"
            "from tests.helpers.faces import digest\n"
            "print(digest(draw_face(11)), digest(draw_face(7)))")
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.split() == [digest(faces[11]), digest(faces[7])]


def test_faces_differ(faces):
    assert len({digest(face) for face in faces}) == len(faces)
    small = np.stack([cv2.resize(face.image, (16, 16), interpolation=cv2.INTER_AREA) for face in faces[:50]])
    small = small.reshape(50, -1).astype(np.float32)
    distances = np.abs(small[:, None] - small[None]).mean(-1)[~np.eye(50, dtype=bool)]
    assert distances.mean() > 35 and distances.min() > 8
    skin = np.array([face.image[face.parsing == LABEL["skin"]].mean() for face in faces])
    assert skin.min() < 80 and skin.max() > 190
    assert np.std([face.landmarks[30, 0] for face in faces]) > 2  # yaw moves the nose


def test_sixteen_pixels_lose_detail(faces):
    """The faces have detail that 16 x 16 pixels lose: a network must have something to learn."""
    psnr = []
    for face in faces[:30]:
        small = cv2.resize(face.image, (16, 16), interpolation=cv2.INTER_AREA)
        blurred = cv2.resize(small, (128, 128), interpolation=cv2.INTER_CUBIC)
        psnr.append(cv2.PSNR(face.image, blurred))
    assert 17 < np.mean(psnr) < 27


def test_eye_brow_and_lip_landmarks_lie_in_their_classes(faces):
    groups = {"r_eye": slice(36, 42), "l_eye": slice(42, 48),
              "r_brow": slice(17, 22), "l_brow": slice(22, 27)}
    covers = ("eye_g", "hair", "hat")
    for face in faces[:40]:
        for name, points in groups.items():
            points = face.landmarks[points]
            assert label_near(face, points.mean(0), (name, *covers), reach=1), name
            if (face.parsing == LABEL[name]).sum() > 12 and "eye" in name and not (face.parsing == 3).any():
                assert np.abs(centroid(face.parsing == LABEL[name]) - points.mean(0)).max() < 1.6, name
        assert label_near(face, face.landmarks[[50, 51, 52, 61, 62, 63]].mean(0), ("u_lip",), 0)
        assert label_near(face, face.landmarks[[56, 57, 58, 65, 66, 67]].mean(0), ("l_lip",), 0)
        assert label_near(face, face.landmarks[30], ("nose",), 0)
        for point in (31, 33, 35):
            assert label_near(face, face.landmarks[point], ("nose",), 1)


def test_open_mouths_show_the_mouth_class(faces):
    gaps = np.array([face.landmarks[66, 1] - face.landmarks[62, 1] for face in faces])
    shown = np.array([(face.parsing == LABEL["mouth"]).sum() for face in faces])
    assert (shown[gaps > 2.5] > 0).all() and (gaps > 2.5).sum() > 10
    assert (shown[gaps < .8] == 0).all() and (gaps < .8).sum() > 10


def test_jaw_landmarks_lie_on_the_edge_of_the_skin(faces):
    """Nothing covers the chin: skin or hair is on the inner side of each point, and no skin on the outer side."""
    for face in faces[:40]:
        middle = face.landmarks[[27, 51]].mean(0)
        for point in face.landmarks[6:11]:
            outward = (point - middle) / np.linalg.norm(point - middle)
            assert label_near(face, point - 2.5 * outward, ("skin", "hair"), 0)
            if max(point + 2.5 * outward) < 127:
                assert not label_near(face, point + 2.5 * outward, ("skin",), 0)


def test_left_is_the_persons_left(faces):
    for face in faces[:40]:
        x = face.landmarks[:, 0]
        assert x[0] < x[36] < x[39] < x[42] < x[45] < x[16]
        for right, left in (("r_eye", "l_eye"), ("r_brow", "l_brow"), ("r_ear", "l_ear")):
            masks = [face.parsing == LABEL[name] for name in (right, left)]
            if all(mask.any() for mask in masks):
                assert centroid(masks[0])[0] < centroid(masks[1])[0], right


def test_picture_and_parsing_show_the_same_shapes(faces):
    """Eyes contain dark pixels where the parsing map has them, and the top rows are not only face."""
    darker = 0
    for face in faces[:40]:
        eyes = (face.parsing == LABEL["l_eye"]) | (face.parsing == LABEL["r_eye"])
        skin = face.image[face.parsing == LABEL["skin"]].mean()
        darker += not eyes.any() or face.image[eyes].min() < .5 * skin
        background = face.parsing == LABEL["background"]
        assert background[:3].any() or (face.parsing[:3] >= LABEL["hair"]).any()
    assert darker >= 38


def test_every_class_appears_with_a_sane_area(faces):
    share = np.stack([np.bincount(face.parsing.ravel(), minlength=19) for face in faces]) / 128**2
    assert (share.max(0) > 0).all(), [CLASSES[i] for i in np.flatnonzero(share.max(0) == 0)]
    limits = {"background": (.3, .7), "skin": (.12, .32), "nose": (.008, .03), "l_eye": (.001, .006),
              "r_eye": (.001, .006), "l_brow": (.002, .008), "r_brow": (.002, .008), "u_lip": (.002, .008),
              "l_lip": (.002, .01), "hair": (.08, .3), "neck": (.01, .08), "cloth": (.004, .08)}
    for name, (low, high) in limits.items():
        assert low < share[:, LABEL[name]].mean() < high, name
    assert share[:, LABEL["skin"]].min() > .05


@pytest.mark.parametrize("seed", [3, 12])
def test_size_scales_the_same_face(seed, faces):
    small, large = faces[seed], draw_face(seed, 256)
    assert np.abs((large.landmarks + .5) / 2 - .5 - small.landmarks).max() < .01
    assert np.abs(large.landmarks - 2 * small.landmarks).max() <= 1
    reduced = cv2.resize(large.image, (128, 128), interpolation=cv2.INTER_AREA)
    assert cv2.PSNR(reduced, small.image) > 24
    assert (large.parsing[::2, ::2] == small.parsing).mean() > .95


def test_write_faces_writes_reads_back_and_resumes(tmp_path):
    folder = tmp_path / "faces"
    assert write_faces(folder, 3, 20, 64)
    face = draw_face(21, 64)
    image = cv2.imread(str(folder / "images/00001.png"))[:, :, ::-1]
    mask = cv2.imread(str(folder / "masks/00001.png"), cv2.IMREAD_UNCHANGED)
    assert (image == face.image).all() and mask.ndim == 2 and (mask == face.parsing).all()
    with open(folder / "landmarks68.csv", newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows[0][:3] == ["file", "x0", "y0"] and rows[0][-1] == "y67" and len(rows) == 4
    assert rows[2][0] == "00001.png"
    assert np.abs(np.array(rows[2][1:], float) - face.landmarks.ravel()).max() <= .0051
    marker = json.loads((folder / "faces.json").read_text())
    assert marker["count"] == 3 and marker["first_seed"] == 20 and marker["size"] == 64
    assert not write_faces(folder, 3, 20, 64)
    (folder / "images/00002.png").unlink()
    assert write_faces(folder, 3, 20, 64) and (folder / "images/00002.png").is_file()


def test_interrupted_run_is_taken_up_again(tmp_path, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt
    monkeypatch.setattr(builtin_faces, "write_landmarks", fail)
    with pytest.raises(KeyboardInterrupt):
        write_faces(tmp_path / "faces", 2, 0, 64)
    monkeypatch.undo()
    assert write_faces(tmp_path / "faces", 2, 0, 64)
    assert not write_faces(tmp_path / "faces", 2, 0, 64)


def test_a_set_that_is_drawn_twice_at_once_is_never_incomplete(tmp_path, monkeypatch):
    """Two scripts draw one set; the first starts to train while the second still writes."""
    folder, replaced, replace = tmp_path / "faces", [], os.replace
    write_faces(folder, 1, 0, 64)
    before = {path: path.read_bytes() for path in folder.rglob("*.[pc][ns][gv]")}
    (folder / "faces.json").write_text((folder / "faces.json").read_text().replace("true", "false"))

    def look(temporary, path):
        assert {path: path.read_bytes() for path in before} == before
        replaced.append(path)
        replace(temporary, path)
    monkeypatch.setattr(os, "replace", look)
    assert write_faces(folder, 1, 0, 64) and set(before) <= set(replaced) and len(before) == 3


def test_foreign_folders_are_refused_and_kept(tmp_path):
    note = tmp_path / "note.txt"
    note.write_text("mine")
    with pytest.raises(ValueError, match="holds other files"):
        write_faces(tmp_path, 1, 0, 64)
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"] and note.read_text() == "mine"
    with pytest.raises(ValueError, match="not a folder"):
        write_faces(note, 1, 0, 64)
    write_faces(tmp_path / "faces", 1, 0, 64)
    for other in ((2, 0, 64), (1, 1, 64), (1, 0, 32)):
        with pytest.raises(ValueError, match="another set"):
            write_faces(tmp_path / "faces", *other)
    assert len(list((tmp_path / "faces/images").iterdir())) == 1


@pytest.mark.parametrize("bad", [{"seed": -1}, {"seed": 1.5}, {"size": 8}, {"size": 5000}])
def test_bad_numbers_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        draw_face(**{"seed": 0, **bad})


def test_command_line(tmp_path, capsys):
    sheet = tmp_path / "sheet.png"
    options = [str(tmp_path / "out"), "--count", "2", "--size", "64", "--sheet", str(sheet)]
    assert main(options) == 0
    assert capsys.readouterr().out.count("\n") == 1
    assert cv2.imread(str(sheet)).shape == (64, 16 * 64, 3)
    assert main([str(tmp_path / "out"), "--count", "0"]) == 2
    assert main([str(tmp_path), "--count", "1"]) == 2
    assert main([str(tmp_path), "--count", "many"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and "many" in lines[2] and "count" in lines[0] and "holds other files" in lines[1]
