# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The faces of a video, restored: nothing flickers, and what a network leaves alone stays as it is."""
from functools import cache

import cv2
import numpy as np
import pytest
import skimage.data

from restore.alignment import FACE_TEMPLATES
from restore.face_finder import TRUST, Face, FaceFinder
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


def test_a_still_video_flickers_no_more_than_before():
    pictures = noisy(9)
    photo = PhotoRestorer({"face128": Restorer.load("face128", "cpu")})
    restored = list(VideoRestorer(photo)(pictures))
    assert flicker(restored) <= flicker(pictures)
    assert np.abs(restored[4].astype(int) - pictures[4]).max() > 10  # it was restored
    still = list(VideoRestorer(photo)([astronaut()] * 4))
    assert flicker(still) == 0


def test_what_a_network_adds_to_noise_is_averaged():
    def sharpened(face):
        return np.clip(face + 2.0 * (face - cv2.GaussianBlur(face, None, 2).astype(float)), 0, 255).astype(np.uint8)
    pictures = noisy(16)
    photo = PhotoRestorer({"w": Network(sharpened)})
    restored = list(VideoRestorer(photo)(pictures))
    alone = [photo(picture)[0] for picture in pictures[8:]]
    added = [flicker(frames[-8:]) / flicker(pictures[8:]) - 1 for frames in (restored, alone)]
    assert 0 < added[0] < added[1] / 3


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


def test_the_finder_follows_a_face_that_moves_and_loses_one_that_is_gone():
    finder = FaceFinder()
    face, = finder(astronaut(200))
    moved, = finder.follow(np.roll(astronaut(200), (4, 6), (0, 1)), [face])
    assert moved.points == pytest.approx(face.points + (6, 4), abs=0.08 * face.eye_distance) and moved.trust > 0.9
    assert moved.box[:2] == pytest.approx(np.add(face.box[:2], (6, 4)), abs=4) and moved.score == face.score
    gone, = finder.follow(np.full((200, 200, 3), 90, np.uint8), [face])
    assert gone.trust < TRUST and finder.follow(astronaut(), []) == []


def test_a_face_that_is_being_restored_keeps_its_weights_a_little_beyond_the_limits():
    photo = PhotoRestorer({"w": Network()}, max_face=100, finder=FaceFinder())
    for side, alone, kept in ((99, None, None), (105, "too large", None), (112, "too large", "too large")):
        points = (FACE_TEMPLATES["celeba"] * side + 50).astype(np.float32)
        face = Face(points, (0, 0, side, side), 1.0, 1.0, 0.0)
        for weights, reason in ((None, alone), ("w", kept)):
            assert (photo.judge(face, weights).skipped or "None").startswith(str(reason))
