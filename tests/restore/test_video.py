# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The faces of a video, restored: nothing flickers, and what a network leaves alone stays as it is."""
from functools import cache

import cv2
import numpy as np
import pytest
import skimage.data

from restore.photo import PhotoRestorer
from restore.restorer import Restorer
from restore.tracks import RADIUS
from restore.video import MOVING, VideoRestorer, steadied
from tests.helpers.videos import Network


@cache
def astronaut(side=100):
    return cv2.resize(skimage.data.astronaut(), (side, side), interpolation=cv2.INTER_AREA)


def noisy(count, deviation=3.0):
    rng = np.random.default_rng(0)
    return [np.clip(np.rint(astronaut() + rng.normal(0, deviation, astronaut().shape)), 0, 255).astype(np.uint8)
            for _ in range(count)]


def flicker(pictures):
    """Returns the mean squared difference of neighbouring frames in the face of astronaut()."""
    faces = np.stack([picture[8:38, 28:58] for picture in pictures]).astype(float)
    return (np.diff(faces, axis=0) ** 2).mean()


@pytest.mark.parametrize("deviation", [0, 3])
def test_a_network_that_changes_nothing_leaves_every_pixel(deviation):
    pictures = noisy(5, deviation)
    restore = VideoRestorer(PhotoRestorer({"w": Network()}))
    restored = list(restore(pictures))
    assert np.array_equal(restored, pictures)
    track, = restore.tracks
    assert (track.first, track.last, track.restored) == (0, 4, 5) and track in restore.examples


@pytest.mark.parametrize("paste", ["delta", "crop"])
def test_a_still_video_flickers_no_more_than_before(paste):
    pictures = noisy(9)
    photo = PhotoRestorer({"face128": Restorer.load("face128", "cpu")}, paste=paste)
    restored = list(VideoRestorer(photo)(pictures))
    assert flicker(restored) <= flicker(pictures) * (1 if paste == "delta" else 0.5)
    assert np.abs(restored[4].astype(int) - pictures[4]).max() > 10  # it was restored
    still = list(VideoRestorer(photo)([astronaut()] * 4))
    assert flicker(still) == 0


def test_what_a_network_adds_to_noise_is_averaged():
    def sharpened(face):
        return np.clip(face + 2.0 * (face - cv2.GaussianBlur(face, None, 2).astype(float)), 0, 255).astype(np.uint8)
    pictures = noisy(20)
    photo = PhotoRestorer({"w": Network(sharpened)})
    restored = list(VideoRestorer(photo)(pictures))
    alone = [photo(picture)[0] for picture in pictures]
    added = [flicker(frames[10:]) / flicker(pictures[10:]) - 1 for frames in (restored, alone)]
    assert 0 < added[0] < added[1] / 5


def test_what_moves_is_not_averaged():
    still = np.full((32, 32, 3), 100, np.uint8)
    moved = still.copy()
    moved[:16] += 2 * MOVING
    before = steadied(steadied(None, still, np.zeros(still.shape, np.float32)), still,
                      np.zeros(still.shape, np.float32))
    after = steadied(before, moved, np.ones(still.shape, np.float32))
    assert (after.change[:13] == 1).all() and after.change[19:] == pytest.approx(1 / 3)


def test_few_pictures_are_in_memory_and_sizes_are_those_of_photos():
    taken = []

    def pictures():
        for number in range(40):
            taken.append(number)
            yield astronaut()
    network = Network()
    for number, picture in enumerate(VideoRestorer(PhotoRestorer({"w": network}, upscale=2))(pictures())):
        assert len(taken) <= number + RADIUS + 1 and picture.shape == (200, 200, 3)
    assert number == 39 and network.restored == 1  # frames that are the same are restored once
