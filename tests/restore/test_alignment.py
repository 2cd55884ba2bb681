# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Face detection and alignment, tested on drawn faces with known points."""
import cv2
import numpy as np
import pytest

from data.drawn.builtin_faces import draw_face
from data.landmark_files import five_points
from restore.alignment import TEMPLATE, align
from restore.face_finder import find_points


@pytest.mark.parametrize("size", [64, 256])
def test_faces_are_found_where_they_were_drawn(size):
    for seed in (0, 3, 7):
        face = draw_face(seed, size)
        found = find_points(face.image)
        assert np.abs(found - five_points(face.landmarks)).max() < 0.05 * size
    assert find_points(np.full((size, size, 3), 90, np.uint8)) is None


@pytest.mark.parametrize("size", [(112, 96), (112, 112)])
def test_aligned_faces_lie_on_the_template(size):
    """Discs on the points of a rotated, shifted and enlarged template are moved to the template's points."""
    angle, scale, shift = 0.4, 2.5, np.array([60.0, 20.0])
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = TEMPLATE @ turn.T + shift
    picture = np.zeros((400, 400, 3), np.uint8)
    for x, y in points:
        cv2.circle(picture, (round(x * 16), round(y * 16)), 7 * 16, (255, 255, 255), -1, shift=4)
    face = align(picture, points.astype(np.float32), size)
    assert face.shape == (*size, 3)
    for x, y in TEMPLATE - ((112 - size[1]) / 2, 0):
        window = face[int(y) - 4:int(y) + 6, int(x) - 4:int(x) + 6, 0].astype(float)
        rows, columns = np.mgrid[int(y) - 4:int(y) + 6, int(x) - 4:int(x) + 6]
        centre = (window * columns).sum() / window.sum(), (window * rows).sum() / window.sum()
        assert centre == pytest.approx((x, y), abs=0.3)
