# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Cutting faces out of photos and pasting them back, against pictures of which the truth is known."""
import cv2
import numpy as np
import pytest

from data.drawn.builtin_faces import draw_face
from data.landmark_files import five_points
from restore.alignment import FACE_TEMPLATES, crop_matrix, crop_scale, cut_face
from restore.paste_back import RestoredCrop, paste_back

SIDE = 1024  # of the picture that is the truth


@pytest.fixture(scope="module")
def truth():
    """Returns (picture [SIDE, SIDE, 3], points [5, 2]) with a drawn face of a third of its side."""
    face = draw_face(3, 512)
    picture = np.full((SIDE, SIDE, 3), 120, np.uint8)
    picture[300:812, 260:772] = face.image
    picture = cv2.GaussianBlur(picture, None, 1.5)
    return picture, five_points(face.landmarks) + (260, 300)


def at(truth, eyes):
    """Returns (photo, points) with so many pixels between the eyes, reduced from the truth by averaging."""
    picture, points = truth
    side = round(SIDE * eyes / np.linalg.norm(points[1] - points[0]))
    return (cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA), (points + 0.5) * side / SIDE - 0.5)


def cut(photo, points, size=512, alignment="ffhq"):
    matrix = crop_matrix(points, alignment, size)
    aligned = cut_face(photo, matrix, size)
    return RestoredCrop(matrix, aligned, aligned)


def touched(photo, crop, upscale=1):
    """Returns where a face changes the photo at all, and where fully: bool [H, W]."""
    black = np.zeros_like(crop.aligned)
    weight = paste_back(np.zeros_like(photo), [crop._replace(aligned=black, restored=black + 255)], upscale)[..., 0]
    return weight > 0, weight == 255


def psnr(a, b, where):
    error = np.mean((a[where].astype(float) - b[where]) ** 2)
    return 10 * np.log10(255 ** 2 / error)


@pytest.mark.parametrize("alignment", FACE_TEMPLATES)
def test_points_lie_on_the_template(alignment):
    wanted = FACE_TEMPLATES[alignment] * 128 - 0.5
    angle = np.radians(20)
    turn = 2.5 * np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))])
    matrix = crop_matrix(wanted @ turn.T + (300, 200), alignment, 128)
    assert crop_scale(matrix) == pytest.approx(1 / 2.5)
    assert (wanted @ turn.T + (300, 200)) @ matrix[:, :2].T + matrix[:, 2] == pytest.approx(wanted, abs=1e-6)


def test_equal_points_are_no_face():
    assert crop_matrix(np.full((5, 2), 7.0), "celeba", 128) is None


def test_a_reduced_crop_is_averaged():
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 200  # finer than the crop's pixels
    points = FACE_TEMPLATES["celeba"] * 512 - 0.5
    crop = cut_face(stripes, crop_matrix(points, "celeba", 64), 64)
    assert np.abs(crop[8:-8, 8:-8].astype(int) - 100).max() <= 2


@pytest.mark.parametrize("eyes", [12, 25, 50, 110])
@pytest.mark.parametrize("fidelity", [0.0, 1.0])
def test_what_the_network_does_not_change_stays(truth, eyes, fidelity):
    photo, points = at(truth, eyes)
    crop = cut(photo, points, 128, "celeba")
    assert np.array_equal(paste_back(photo, [crop], fidelity=fidelity), photo)
    if fidelity:
        changed = crop._replace(restored=255 - crop.aligned)
        for mode in ("delta", "crop"):
            assert np.array_equal(paste_back(photo, [changed], mode=mode, fidelity=fidelity), photo)


@pytest.mark.parametrize("upscale", [1, 2, 4])
@pytest.mark.parametrize("mode", ["delta", "crop"])
def test_pixels_outside_of_the_face_stay(truth, upscale, mode):
    photo, points = at(truth, 25)
    crop = cut(photo, points, 128, "celeba")
    changed = crop._replace(restored=255 - crop.aligned)
    before, after = (paste_back(photo, crops, upscale, mode) for crops in ([], [changed]))
    anywhere, fully = touched(photo, crop, upscale)
    assert np.array_equal(after[~anywhere], before[~anywhere])
    assert np.abs(after[fully].astype(int) - before[fully]).mean() > 20 and (~anywhere).any()


@pytest.mark.parametrize("upscale, least", [(1, 50), (2, 46), (4, 46)])
@pytest.mark.parametrize("eyes", [12, 25, 50])
def test_a_perfect_restorer_gives_the_true_photo(truth, eyes, upscale, least):
    """The crop has more detail than the photo; pasted, it must neither alias nor lie beside its place."""
    picture, of_picture = truth
    photo, points = at(truth, eyes)
    crop = cut(photo, points)._replace(restored=cut(picture, of_picture).aligned)
    wanted = cv2.resize(picture, (len(photo) * upscale,) * 2, interpolation=cv2.INTER_AREA)
    _, fully = touched(photo, crop, upscale)
    assert psnr(paste_back(photo, [crop], upscale, "crop"), wanted, fully) > least


def test_overlapping_faces_are_averaged_and_order_does_not_count(truth):
    photo, points = at(truth, 50)
    first, second = (cut(photo, points + shift, 128, "celeba") for shift in ((0, 0), (20, 10)))
    lighter = [crop._replace(restored=(np.clip(crop.aligned, 0, 205) + 50).astype(np.uint8),
                             aligned=np.clip(crop.aligned, 0, 205)) for crop in (first, second)]
    one, both = paste_back(photo, lighter[:1]), paste_back(photo, lighter)
    assert np.array_equal(both, paste_back(photo, lighter[::-1]))
    fully = touched(photo, first)[1] & touched(photo, second)[1]
    assert fully.any() and np.array_equal(both[fully], one[fully])  # 50 levels lighter, not 100


def test_a_face_at_the_border_and_one_outside(truth):
    photo, points = at(truth, 50)
    crop = cut(photo, points, 128, "celeba")
    lighter = np.full_like(crop.aligned, 255)
    for shift in ((-len(photo) // 2, 0), (0, len(photo) // 2), (5000, 0)):
        moved = cut(photo, points + shift, 128, "celeba")._replace(restored=lighter)
        assert paste_back(photo, [moved]).shape == photo.shape
    assert np.array_equal(paste_back(photo, [cut(photo, points + (5000, 0))._replace(
        restored=np.full((512, 512, 3), 255, np.uint8))]), photo)
