# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""benchmarks/face_finding.py: faces lie where their points say, and the table's numbers are those of known finds."""
import numpy as np
import pytest

from benchmarks import face_finding
from restore.face_finder import Face

POINTS = np.array([(40, 50), (80, 50), (60, 70), (45, 90), (75, 90)], float)


def marked():
    """Returns a grey face of 128 pixels whose eyes are white squares around the points, the left one larger."""
    picture = np.full((128, 128, 3), 60, np.uint8)
    for (x, y), half in zip(POINTS[:2].astype(int), (5, 3), strict=True):
        picture[y - half:y + half + 1, x - half:x + half + 1] = 255
    return picture, POINTS


def find(points):
    return Face(points.astype(np.float32), (0, 0, 1, 1), 1.0, 1.0, 0.0)


@pytest.mark.parametrize("angle", [0, 45, 90, 180])
def test_faces_lie_where_their_points_say(angle, monkeypatch):
    monkeypatch.setattr(face_finding, "CELL", 160)
    photo, true = face_finding.composed(np.full((300, 400, 3), 90, np.uint8), [marked()] * 8, 40, angle)
    assert photo.shape == (480, 640, 3) and len(true) == 8
    line = true[7][1] - true[7][0]
    assert np.degrees(np.arctan2(line[1], line[0])) % 360 == pytest.approx(angle) and np.hypot(*line) == 40
    middle = np.round(true[7][:2].mean(0)).astype(int)
    assert abs(middle - (3.5 * 160, 1.5 * 160)).max() <= 1
    rows, columns = np.nonzero(photo[..., 0] > 200)
    white = np.stack([columns, rows], 1)
    for eye, half in zip(true[7][:2], (5, 3), strict=True):
        near = white[np.linalg.norm(white - eye, axis=1) < 15]
        assert np.abs(near.mean(0) - eye).max() < 0.5 and len(near) == pytest.approx((2 * half + 1) ** 2, rel=0.25)


def test_halves_hold_one_eye():
    (right, (of_right,)), (left, (of_left,)) = face_finding.halves(marked(), 40)
    assert right[50, round(of_right[1][0])].min() == 255 == left[50, round(of_left[0][0])].min()
    assert right.shape == (128, 68, 3) and left.shape == (128, 61, 3)
    assert of_right[0][0] < 0 and of_left[1][0] >= left.shape[1]


def test_finds_are_compared_with_the_true_points():
    turn = np.radians(10)
    matrix = 1.1 * np.array([(np.cos(turn), -np.sin(turn)), (np.sin(turn), np.cos(turn))])
    near = (POINTS - POINTS[:2].mean(0)) @ matrix.T + POINTS[:2].mean(0)
    large = (POINTS - POINTS[:2].mean(0)) * 2.1 + POINTS[:2].mean(0)
    results = iter([[find(POINTS + (4, 0)), find(POINTS + 500)], [find(near)], [], [find(POINTS + (21, 0))],
                    [find(large)]])
    photos = [(None, [POINTS, POINTS + 200]), *[(None, [POINTS])] * 4]
    row = face_finding.measure("case", lambda *_, **__: next(results), photos)
    assert (row["photos"], row["faces"], row["found"], row["false"]) == (5, 6, 2, 3)
    error = np.linalg.norm(near - POINTS, axis=1).mean() / 40
    assert row["NME"] == pytest.approx((0.1 + error) / 2, abs=1e-6)
    assert row["roll"] == pytest.approx(5, abs=1e-3) and row["size"] == pytest.approx(0.05, abs=1e-3)


def test_without_finds_there_are_no_errors():
    row = face_finding.measure("none", lambda *_, **__: [], [(None, [POINTS])])
    assert (row["found"], row["false"], row["NME"], row["p95"], row["roll"]) == (0, 0, "", "", "")
