# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""data/augment.py: shift, rotation and scale are as requested; without them the result is the plain crop."""
import numpy as np
import pytest
from PIL import Image

from data.augment import ANGLE, SCALE, SHIFT, crop_aligned, cut, draw_similarity
from data.celeba_dataset import CelebADataset
from data.face_folder import Place
from tests.conftest import write_faces
from utils.images import centre_square, degrade, resize


def ramp(width, height):
    """Returns an image whose red channel is x and whose green channel is y, in pixels."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.dstack([x, y, 0 * x]).astype(np.uint8))


def places(image, size=128, **transform):
    """Returns [size, size, 2]: the (x, y) in the ramp `image` that each pixel of its cut shows."""
    return np.asarray(cut(image, size, **transform)).astype(float)[..., :2]


@pytest.mark.parametrize("size", [(178, 178), (178, 218), (218, 178), (128, 128), (60, 70), (250, 250)])
def test_without_a_transform_it_is_the_plain_crop(size):
    noise = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    face = Image.fromarray(noise)
    seen, plain = np.asarray(cut(face, 128)), np.asarray(resize(face, 128, centre_square(size)))
    inner = 0 if size[0] == size[1] else 3  # near its edges, the plain crop reads pixels outside its box
    assert np.array_equal(seen[inner:128 - inner, inner:128 - inner], plain[inner:128 - inner, inner:128 - inner])


def test_a_large_picture_is_reduced_first_and_hardly_differs():
    smooth = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)).resize((1024, 1100))
    plain = np.asarray(resize(smooth, 128, centre_square(smooth.size))).astype(int)
    assert np.abs(np.asarray(cut(smooth, 128)) - plain).max() <= 2


def test_a_shift_moves_the_cut_to_the_right_and_down():
    face = ramp(200, 240)
    moved = places(face, shift=(0.1, -0.05)) - places(face)
    np.testing.assert_allclose(moved[20:-20, 20:-20, 0], 20, atol=1)
    np.testing.assert_allclose(moved[20:-20, 20:-20, 1], -10, atol=1)


def test_a_scale_enlarges_the_face_about_its_centre():
    shown = places(ramp(200, 200), scale=1.25)  # 160 pixels of the source, from 20 to 180
    at = (np.arange(128) + 0.5) * 160 / 128 - 0.5 + 20
    np.testing.assert_allclose(shown[64, 4:-4, 0], at[4:-4], atol=1)
    np.testing.assert_allclose(shown[4:-4, 64, 1], at[4:-4], atol=1)


def test_an_angle_turns_the_face_clockwise():
    shown = places(ramp(200, 200), angle=10)
    middle = shown[62:66, 62:66].mean((0, 1))
    np.testing.assert_allclose(middle, 99.5, atol=1)
    right = shown[62:66, 110:114].mean((0, 1)) - middle  # the point 47.5 target pixels right of the centre
    reach = 48 * 200 / 128
    np.testing.assert_allclose(right, [reach * np.cos(np.radians(10)), -reach * np.sin(np.radians(10))], atol=1)


def test_beyond_the_picture_its_mirror_image_is_seen():
    shown = places(ramp(200, 200), scale=0.8)  # 250 pixels of the source, from -25 to 225
    at = np.abs((np.arange(128) + 0.5) * 250 / 128 - 0.5 - 25)
    np.testing.assert_allclose(shown[64, :100, 0], at[:100], atol=2)


def test_all_comes_from_the_generator_and_stays_within_the_ranges():
    face = ramp(178, 178)
    a, b, c = (np.asarray(crop_aligned(face, 64, np.random.default_rng(seed))) for seed in (1, 1, 2))
    assert a.shape == (64, 64, 3) and a.dtype == np.uint8
    assert np.array_equal(a, b) and not np.array_equal(a, c)
    rng = np.random.default_rng(0)
    drawn = [draw_similarity(rng) for _ in range(2000)]
    shifts, scales, angles = (np.array([d[name] for d in drawn]) for name in ("shift", "scale", "angle"))
    for values, low, high in ((shifts, -SHIFT, SHIFT), (angles, -ANGLE, ANGLE), (scales, *SCALE)):
        assert low <= values.min() < low + 0.02 * (high - low) and high - 0.02 * (high - low) < values.max() <= high
    assert np.median(scales) == pytest.approx(1, abs=0.02)
    assert abs(shifts.mean(0)).max() < 0.005


def test_the_dataset_flips_half_of_the_faces_and_degrades_as_ever(tmp_path):
    write_faces(tmp_path, 1, size=(178, 178))
    dataset = CelebADataset(list(map(str, tmp_path.iterdir())), 64, 8, "aligned")
    sample = dataset[Place(0, 0)]
    assert np.array_equal(sample["lr"], np.asarray(degrade(Image.fromarray(sample["hr"]), 8)))
    assert np.array_equal(sample["hr"], dataset[Place(0, 0)]["hr"])
    assert not np.array_equal(sample["hr"], dataset[Place(1, 0)]["hr"])
    dataset.crop = lambda image, size, rng: cut(image, size)
    plain = np.asarray(cut(Image.open(next(tmp_path.iterdir())), 64))
    seen = [dataset[Place(epoch, 0)]["hr"] for epoch in range(200)]
    same, flipped = (sum(np.array_equal(s, p) for s in seen) for p in (plain, plain[:, ::-1]))
    assert same + flipped == 200 and 70 < same < 130
