# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Heatmaps and parsing maps: known values, simple reference code, and mirrored priors of mirrored faces."""
import numpy as np
import pytest

from data.drawn.builtin_faces import draw_face
from data.drawn.face_shape import canonical_landmarks
from data.face_parts import CLASSES, FACE_PARTS, MASK_PARTS, MIRRORED_CLASSES, POINTS_68, POINTS_194, mirror_of
from data.priors import cut_part, cut_parts, draw_parts, heatmaps, mirror_maps, mirror_points, move_points
from tests.helpers.faces import helen_points

WHOLE = (0, 0, 128, 128)


@pytest.fixture(scope="module")
def faces():
    return [draw_face(seed) for seed in range(12)]


def test_heatmap_of_known_points():
    maps = heatmaps(np.array([[10, 20], [-3, 30], [-100, 5], [63, 0], [20.5, 8]]), 64)
    assert maps.shape == (64, 64, 5) and maps.dtype == np.uint8
    assert maps[20, 10, 0] == 255 and maps[20, 13, 0] == maps[14, 10, 0] + 154 - 34 == int(255 * np.exp(-0.5))
    assert maps[30, 0, 1] == 154 and maps[..., 1].max() == 154  # the peak lies outside the image
    assert not maps[..., 2].any()
    assert maps[0, 63, 3] == 255
    assert maps[8, 20, 4] == maps[8, 21, 4] == 251  # the peak lies between two pixels
    assert not maps[40, 20:, 4].any() and not maps[8, 31:, 4].any() and maps[8, 30, 4] == 1  # 0 beyond 3.3 sigma
    assert heatmaps(np.array([[20, 40]]), 128)[40, 26, 0] == 154  # sigma is proportional to the size


@pytest.mark.parametrize("size", [16, 64])
def test_heatmaps_are_full_image_gaussians(size):
    points = np.random.default_rng(0).normal(size / 2, size / 3, (50, 2))
    y, x = np.mgrid[:size, :size]
    sigma = 3 * size / 64
    exact = np.stack([255 * np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * sigma**2)) for a, b in points], 2)
    maps = heatmaps(points, size)
    assert np.abs(maps - exact).max() < 1.001
    assert (maps == exact.astype(np.uint8)).mean() > 0.999  # truncated, as in the public code


def test_mirrors_are_their_own_inverse_and_the_canonical_face_is_symmetric():
    for point_set in (POINTS_68, POINTS_194):
        assert np.array_equal(point_set.mirror[point_set.mirror], np.arange(point_set.count))
    for names in (CLASSES, MASK_PARTS, FACE_PARTS):
        mirror = mirror_of(names)
        assert np.array_equal(mirror[mirror], np.arange(len(names)))
        assert {(names[i], names[j]) for i, j in enumerate(mirror) if i < j} <= {
            (f"l_{part}", f"r_{part}") for part in ("eye", "brow", "ear")}
        assert sum(mirror != np.arange(len(names))) == (4 if names is FACE_PARTS else 6)
    shape = canonical_landmarks()[:, :2]
    np.testing.assert_allclose((shape * (-1, 1))[POINTS_68.mirror], shape, atol=1e-9)
    shape = helen_points()
    np.testing.assert_allclose((shape * (-1, 1))[POINTS_194.mirror], shape, atol=1e-9)


def test_mirroring_twice_is_the_identity(faces):
    points = faces[0].landmarks.astype(float)
    maps = cut_parts(faces[0].parsing, WHOLE, 64)
    mirrored = mirror_points(points, 128, POINTS_68.mirror)
    np.testing.assert_allclose(mirror_points(mirrored, 128, POINTS_68.mirror), points, atol=1e-9)
    assert not np.array_equal(mirror_maps(maps, MASK_PARTS), maps)
    assert np.array_equal(mirror_maps(mirror_maps(maps, MASK_PARTS), MASK_PARTS), maps)


def test_priors_of_a_mirrored_face_are_the_mirrored_priors(faces):
    for face in faces:
        points = move_points(face.landmarks, WHOLE, 64)
        mirrored = mirror_points(points, 64, POINTS_68.mirror)
        heat = heatmaps(points, 64)[:, ::-1][..., POINTS_68.mirror]
        assert np.abs(heatmaps(mirrored, 64).astype(int) - heat).max() <= 1
        parts = mirror_maps(draw_parts(points, 64, POINTS_68), FACE_PARTS).astype(int)
        assert (np.abs(draw_parts(mirrored, 64, POINTS_68) - parts).sum((0, 1)) < 0.1 * parts.sum((0, 1))).all()
        other_face = MIRRORED_CLASSES[face.parsing[:, ::-1]].astype(np.uint8)
        maps = cut_parts(face.parsing, WHOLE, 64)
        assert np.array_equal(cut_parts(other_face, WHOLE, 64), mirror_maps(maps, MASK_PARTS))


def area(outline):
    x, y = np.asarray(outline).T
    return abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2


@pytest.mark.parametrize("name", ["68", "194"])
def test_parts_are_as_large_as_their_outlines_and_lie_there(faces, name):
    """Compares the area with the shoelace formula and the position with the outline's extent."""
    if name == "68":
        point_set, shapes = POINTS_68, [move_points(face.landmarks, WHOLE, 64) for face in faces]
    else:
        point_set, shapes = POINTS_194, [helen_points() * 0.5 + (32 + shift, 30) for shift in (-4, 0, 3.3)]
    covered, expected = [], []
    for points in shapes:
        maps = draw_parts(points, 64, point_set)
        assert maps.shape == (64, 64, 9) and maps.dtype == np.uint8
        outlines = [np.asarray(outline) for outline in point_set.outlines(points)]
        for place, outline in enumerate(outlines):
            margin = 2 if place == 0 else 1
            y, x = np.nonzero(maps[..., place])
            seen, extent = np.array([x.min(), y.min(), x.max(), y.max()]), np.r_[outline.min(0), outline.max(0)]
            assert np.abs(seen - extent).max() <= margin + 0.5, FACE_PARTS[place]
        length = np.hypot(*np.diff(outlines[0], axis=0).T).sum()
        covered.append(maps.sum((0, 1)) / 255)
        expected.append([3 * length, *map(area, outlines[1:])])
    ratio = np.sum(covered, 0) / np.sum(expected, 0)
    assert (np.abs(ratio - 1) < np.where(np.array(FACE_PARTS) == "teeth", 0.3, 0.12)).all(), ratio


def test_drawn_parts_are_those_of_the_exact_masks(faces):
    """Parts drawn from landmarks lie where the exact masks have them; the person's left is on the image's right."""
    seen = 0
    for face in faces:
        drawn = draw_parts(move_points(face.landmarks, WHOLE, 64), 64, POINTS_68)
        exact = cut_parts(face.parsing, WHOLE, 64)
        centre = {}
        for part in ("l_eye", "r_eye", "nose", "u_lip", "l_lip", "l_brow", "r_brow"):
            a, b = drawn[..., FACE_PARTS.index(part)], exact[..., MASK_PARTS.index(part)]
            if b.sum() < 255 * 4:
                continue  # covered by hair or glasses
            centre[part], other = ((np.argwhere(m > 60) + 0.5).mean(0) for m in (a, b))
            assert np.abs(centre[part] - other).max() < 3, part
            seen += 1
        if {"l_eye", "r_eye"} <= centre.keys():
            assert centre["l_eye"][1] > centre["r_eye"][1] + 5
    assert seen > 60


def test_helen_parts_know_left_from_right():
    maps = draw_parts(helen_points() * 0.5 + (32, 30), 64, POINTS_194)
    x = {part: np.nonzero(maps[..., i])[1].mean() for i, part in enumerate(FACE_PARTS)}
    y = {part: np.nonzero(maps[..., i])[0].mean() for i, part in enumerate(FACE_PARTS)}
    assert x["l_eye"] > 40 > 24 > x["r_eye"] and x["l_brow"] > 40 > 24 > x["r_brow"]
    assert y["l_brow"] < y["l_eye"] < y["nose"] < y["u_lip"] < y["teeth"] < y["l_lip"] < y["jaw"] + 20
    for part in ("jaw", "nose", "u_lip", "teeth", "l_lip"):
        assert x[part] == pytest.approx(31.9, abs=0.6)


def test_cut_parts_are_means_over_their_class(faces):
    index_map = faces[1].parsing
    maps = cut_parts(index_map, WHOLE, 32)
    assert maps.shape == (32, 32, 11) and maps.dtype == np.uint8
    for place, part in enumerate(MASK_PARTS):
        inside = 255.0 * (index_map == CLASSES.index(part))
        np.testing.assert_allclose(maps[..., place], inside.reshape(32, 4, 32, 4).mean((1, 3)), atol=0.501)
    assert maps[..., MASK_PARTS.index("skin")].max() == 255
    without = np.where(index_map == CLASSES.index("nose"), CLASSES.index("skin"), index_map).astype(np.uint8)
    assert not cut_parts(without, WHOLE, 32)[..., MASK_PARTS.index("nose")].any()


def test_cut_part_of_a_fractional_box_is_what_finer_pixels_give(faces):
    """Boxes end on tenths of a pixel: in a mask enlarged ten times, each pixel of the map is a mean of whole pixels."""
    mask = 255 * (faces[0].parsing == CLASSES.index("skin")).astype(np.uint8)
    for left, top, width, height in ((0, 0, 128, 128), (3.3, 10.1, 108.8, 83.2), (60.4, 50.7, 6.4, 9.6)):
        finer = mask.repeat(10, axis=0).repeat(10, axis=1)
        x, y, w, h = (round(10 * v) for v in (left, top, width, height))
        expected = finer[y:y + h, x:x + w].reshape(16, h // 16, 16, w // 16).mean((1, 3), dtype=float)
        cut = cut_part(mask, (left, top, left + width, top + height), 16)
        np.testing.assert_allclose(cut, expected, atol=0.501)


def test_points_move_with_their_box():
    points = np.array([[0.5, 0.5], [63.5, 127.5], [10, 20]])
    np.testing.assert_allclose(move_points(points, (0, 0, 128, 128), 64), [[0, 0], [31.5, 63.5], [4.75, 9.75]])
    np.testing.assert_allclose(move_points(points, (10, 20, 42, 36), 64)[2], [0.5, 1.5])
