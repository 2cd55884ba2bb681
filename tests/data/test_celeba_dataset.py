# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""CelebA: crops keep the aspect ratio, and randomness depends on (seed, epoch, index) only."""
import numpy as np
import pytest
import torch
from PIL import Image

from data.augment import crop_fixed, crop_upstream, random_crop_box
from data.face_folder import Place
from tests.helpers.faces import celeba_set, write_faces
from utils.images import centre_square, degrade, resize


def ramp(width, height):
    """Returns an image whose red channel is x and whose green channel is y, in pixels."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.dstack([x, y, 0 * x]).astype(np.uint8))


def test_aligned_celeba_is_cropped_square_not_squashed(tmp_path):
    ramp(178, 218).save(tmp_path / "a.png")
    sample = celeba_set([tmp_path / "a.png"])[Place(0, 0)]
    hr = sample["hr"].astype(float)
    # The crop is 178 x 178 from row 20 on: one pixel is 178 / 128 source pixels in both directions.
    assert hr.shape == (128, 128, 3)
    np.testing.assert_allclose(hr[64, :, 0], (np.arange(128) + 0.5) * 178 / 128 - 0.5, atol=1)
    np.testing.assert_allclose(hr[:, 64, 1], 20 + (np.arange(128) + 0.5) * 178 / 128 - 0.5, atol=1)


def test_ready_crops_pass_unchanged_and_lr_is_the_protocols(tmp_path):
    face = Image.fromarray(np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8))
    face.save(tmp_path / "a.png")
    sample = celeba_set([tmp_path / "a.png"])[Place(3, 0)]
    assert np.array_equal(sample["hr"], np.asarray(face))
    assert np.array_equal(sample["lr"], np.asarray(degrade(face, 8)))


def box_of(crop, seed, side=200, size=128):
    """Returns (left, top, right, bottom) of a crop in the source, measured on an image of coordinates."""
    shown = np.asarray(crop(ramp(side, side), size, np.random.default_rng(seed))).astype(float)
    left, right = np.median(shown[:, 10, 0]), np.median(shown[:, -11, 0])
    top, bottom = np.median(shown[10, :, 1]), np.median(shown[-11, :, 1])
    step_x, step_y = (right - left) / (size - 21), (bottom - top) / (size - 21)
    return left - 10.5 * step_x, top - 10.5 * step_y, right + 10.5 * step_x, bottom + 10.5 * step_y


def test_the_fixed_crop_has_the_published_areas_and_lies_anywhere():
    boxes = np.array([box_of(crop_fixed, seed) for seed in range(150)])
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    share = width * height / 200 ** 2
    assert share.min() > 0.68 and share.max() < 1.02 and share.mean() == pytest.approx(0.83, abs=0.03)
    ratio = width / height
    assert 0.73 < ratio.min() < 0.85 and 1.18 < ratio.max() < 1.37
    assert boxes.min() > -2 and boxes.max() < 202
    slack = 200 - height
    free = slack > 10
    position = boxes[free, 1] / slack[free]
    assert position.min() < 0.1 and position.max() > 0.9  # boxes reach the top and the bottom


def test_upstream_crop_keeps_the_published_fault():
    boxes = np.array([box_of(crop_upstream, seed) for seed in range(80)])
    # The box is drawn for the unscaled image: parts that a scale of 1.3 moves outside it are never shown.
    assert boxes[:, 2].mean() < 0.93 * 200 and boxes[:, 3].mean() < 0.93 * 200
    fixed = np.array([box_of(crop_fixed, seed) for seed in range(80)])
    assert boxes[:, 2:].mean() < fixed[:, 2:].mean() - 10


def test_upstream_returns_an_unscaled_picture_uncropped():
    class Smallest:
        def uniform(self, low, high):
            return low
    face = ramp(200, 200)
    assert np.array_equal(np.asarray(crop_upstream(face, 128, Smallest())),
                          np.asarray(resize(face, 128, centre_square(face.size))))


def test_crop_box_gives_up_on_impossible_shapes():
    class Wide:
        def uniform(self, low, high):
            return high
    assert random_crop_box(100, 100, Wide()) == (0, 0, 100, 100)


def test_half_of_the_faces_are_flipped(tmp_path):
    write_faces(tmp_path, 1, size=(128, 128))
    dataset = celeba_set(tmp_path.iterdir(), "fixed")
    dataset.crop = lambda image, size, rng: image
    plain = dataset[Place(0, 0)]["hr"]
    seen = [dataset[Place(epoch, 0)]["hr"] for epoch in range(200)]
    flipped = sum(np.array_equal(s, plain[:, ::-1]) for s in seen)
    same = sum(np.array_equal(s, plain) for s in seen)
    assert flipped + same == 200 and 70 < same < 130


def test_randomness_comes_from_seed_epoch_and_index_alone(tmp_path):
    paths = sorted(write_faces(tmp_path, 3).iterdir())
    a, b = celeba_set(paths, "fixed"), celeba_set(paths, "fixed")
    reference = {(e, i): a[Place(e, i)]["hr"] for e in range(2) for i in range(3)}
    for e, i in reversed(list(reference)):
        np.random.random(5)
        torch.rand(5)
        assert np.array_equal(b[Place(e, i)]["hr"], reference[e, i])
    assert not np.array_equal(reference[0, 1], reference[1, 1])
    assert not np.array_equal(celeba_set(paths, "fixed", seed=1)[Place(0, 1)]["hr"], reference[0, 1])


def test_small_images_are_noted_or_refused(tmp_path):
    write_faces(tmp_path, 1, size=(100, 90))
    sample = celeba_set(tmp_path.iterdir())[Place(0, 0)]
    assert sample["hr"].shape == (128, 128, 3) and sample["notes"][0][0::2] == ("small", "100x90 pixels")
    refused = celeba_set(tmp_path.iterdir(), min_size=91)[Place(0, 0)]
    assert refused["notes"][0][0] == "bad" and "smaller than --min_size 91" in refused["notes"][0][2]
