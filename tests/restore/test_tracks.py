# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Faces of a video, followed: with a finder that knows the truth, so that every number is known."""
import numpy as np
import pytest

from restore.face_finder import Face
from restore.photo import FoundFace
from restore.tracks import FADE, GAP, RADIUS, SEARCH, Tracker, associate, fade, smoothed

POINTS = np.array([(-10, 0), (10, 0), (0, 10), (-8, 20), (8, 20)], np.float32)  # 20 pixels between the eyes
EYES = 20


def face_at(x, y, scale=1.0, trust=0.99):
    points = (POINTS * scale + (x, y)).astype(np.float32)
    return Face(points, (x - 20 * scale, y - 15 * scale, 40 * scale, 45 * scale), 0.9, trust, 0.0)


class Scene:
    """A finder. paths: one function per face, frame -> (x, y) or None. The first pixel of a picture is its number."""

    def __init__(self, *paths, noise=0.0, seen=lambda frame: True):
        self.paths, self.noise, self.seen = paths, noise, seen
        self.rng = np.random.default_rng(0)
        self.searched = []

    def faces(self, frame):
        places = [path(frame) for path in self.paths]
        return [face_at(*place) for place in places if place and self.seen(frame)]

    def find(self, picture):
        self.searched.append(number(picture))
        return [self._noisy(face) for face in self.faces(number(picture))]

    def follow(self, picture, faces):
        there = self.faces(number(picture))
        moved = []
        for face in faces:
            near = [other for other in there if np.linalg.norm((other.points - face.points).mean(0)) < EYES / 2]
            moved.append(self._noisy(near[0]) if near else face.moved(face.points, 0.1))
        return moved

    def _noisy(self, face):
        return face.moved(face.points + self.rng.normal(0, self.noise, (5, 2)).astype(np.float32), face.trust)


def picture(frame, grey=100):
    pixels = np.full((36, 64, 3), grey, np.uint8)
    pixels[0, 0, 0] = frame
    return pixels


def number(pixels):
    return int(pixels[0, 0, 0])


def judged(face, kept):
    return FoundFace(face, EYES * 2.0, "w")


def followed(scene, count, judge=judged, rank=None, grey=lambda frame: 100):
    """Returns (Tracker, [the Placed faces of each frame])."""
    tracker, result = Tracker(scene.find, scene.follow, judge, rank), []
    for frame in range(count):
        tracker.add(picture(frame, grey(frame)))
        if frame >= RADIUS:
            result.append(tracker.placed(frame - RADIUS))
    return tracker, result + [tracker.placed(frame) for frame in range(count - RADIUS, count)]


def test_two_faces_keep_their_tracks_and_few_frames_are_searched():
    scene = Scene(lambda t: (100 + 3 * t, 100), lambda t: (400 - 3 * t, 140))
    tracker, placed = followed(scene, 40)
    assert len(tracker.tracks) == 2 and all(len(faces) == 2 for faces in placed)
    for frame, faces in enumerate(placed):
        for face, x in zip(faces, (100 + 3 * frame, 400 - 3 * frame), strict=True):
            assert face.found.face.points[:2, 0].mean() == pytest.approx(x, abs=0.01) and face.strength == 1
    assert scene.searched == list(range(0, 40, SEARCH))
    assert [track.record()["first"] for track in tracker.tracks] == [0, 0]


def test_a_track_goes_on_after_a_short_gap_and_ends_after_a_long_one():
    gap = GAP - 1
    scene = Scene(lambda t: (100 + t, 100), seen=lambda t: not 20 <= t < 20 + gap)
    tracker, placed = followed(scene, 50)
    assert len(tracker.tracks) == 1 and all(len(faces) == 1 and faces[0].strength == 1 for faces in placed)
    assert placed[22][0].found.face.points[:2, 0].mean() == pytest.approx(122, abs=0.1)
    long = GAP
    tracker, placed = followed(Scene(lambda t: (100, 100), seen=lambda t: not 20 <= t < 20 + long), 50)
    assert [(track.first, track.last) for track in tracker.tracks] == [(0, 19), (20 + long, 49)]
    assert not placed[20] and not placed[19 + long]
    strengths = [faces[0].strength if faces else 0 for faces in placed]
    assert max(abs(np.diff(strengths))) <= 1 / (FADE + 1) + 1e-9


def test_faces_fade_in_and_out_within_a_scene_but_not_at_a_cut():
    scene = Scene(lambda t: (100, 100), seen=lambda t: 10 <= t < 30)
    _, placed = followed(scene, 60)
    strengths = [faces[0].strength if faces else 0 for faces in placed]
    assert strengths[:10] == [0] * 10 and strengths[30:] == [0] * 30 and max(strengths) == 1
    assert max(abs(np.diff(strengths))) <= 1 / (FADE + 1) + 1e-9  # nothing jumps
    assert strengths[10] > 0 and strengths[29] > 0  # also found in frames before the search that found it
    tracker, placed = followed(Scene(lambda t: (100, 100) if t < 20 else (105, 100)), 40,
                               grey=lambda t: 100 if t < 20 else 200)
    assert [(track.first, track.last) for track in tracker.tracks] == [(0, 19), (20, 39)]
    assert all(faces[0].strength == 1 for faces in placed)
    assert placed[19][0].found.face.points[:2, 0].mean() == pytest.approx(100)


def test_a_face_at_a_limit_fades_and_keeps_its_weights():
    kept_weights = []

    def judge(face, kept):
        kept_weights.append(kept)
        wide = face.points[:2, 0].mean() < 130
        return FoundFace(face, 40.0, "w", None if wide else "too large: 50 pixels")
    tracker, placed = followed(Scene(lambda t: (100 + t, 100)), 50, judge)
    strengths = [faces[0].strength if faces else 0 for faces in placed]
    assert strengths[20] == 1 and strengths[30:] == [0] * 20
    assert max(abs(np.diff(strengths))) <= 1 / (FADE + 1) + 1e-9
    assert kept_weights[0] is None and kept_weights[1:31] == ["w"] * 30 and set(kept_weights[31:]) == {None}
    assert tracker.tracks[0].record() == {"track": 1, "first": 0, "last": 49, "restored": 30, "sides": [40.0, 40.0],
                                          "weights": {"w": 30}, "skipped": {"too large": 20}}


def test_points_are_steadier_than_found_and_follow_a_turn_without_delay():
    _, placed = followed(Scene(lambda t: (100, 100), noise=0.5), 60)
    points = np.stack([faces[0].found.face.points for faces in placed])
    assert points[10:-10].std(0).mean() < 0.5 / 2
    turn = [np.full((5, 2), abs(t - 10) * 8.0) + POINTS for t in range(21)]  # turns round at once, at frame 10
    at_turn = smoothed(range(21), turn, 10)
    assert at_turn == pytest.approx(turn[10], abs=0.1)
    line = [np.full((5, 2), 3.0 * t) + POINTS for t in range(9)]
    for frame in (0, 4, 8):
        assert smoothed(range(9), line, frame) == pytest.approx(line[frame], abs=1e-3)
    assert smoothed([0, 1, 5, 6], [line[i] for i in (0, 1, 5, 6)], 3) == pytest.approx(line[3], abs=1e-3)


def test_frames_without_change_are_not_looked_at():
    scene = Scene(lambda t: (100, 100))
    tracker = Tracker(scene.find, scene.follow, judged)
    for _ in range(30):
        tracker.add(picture(0))
    assert scene.searched == [0] and tracker.tracks[0].last == 29


def test_one_face_is_chosen_and_stays_so_while_no_other_is_clearly_better():
    scene = Scene(lambda t: (100, 100), lambda t: (300 + 10 * np.sin(t / 9), 100))

    def rank(face, shape):  # the second one is better by a little from frame 10 on, then by much
        x = face.points[:2, 0].mean()
        return -10.0 if x < 200 else (-9.0 if scene_frame[0] < 10 else -11.0 if scene_frame[0] < 30 else -20.0)
    scene_frame = [0]
    tracker = Tracker(scene.find, scene.follow, judged, rank)
    placed = []
    for frame in range(60):
        scene_frame[0] = frame
        tracker.add(picture(frame))
        if frame >= RADIUS:
            placed.append([face.track.number for face in tracker.placed(frame - RADIUS)])
    assert placed[20] == [1] and placed[29] == [1] and placed[31] == [2] and placed[50] == [2]


def test_the_chosen_face_stays_chosen_in_a_short_gap():
    scene = Scene(lambda t: None if t == 20 else (100, 100), lambda t: (300, 100))
    _, placed = followed(scene, 40, rank=lambda face, shape: -face.eye_distance)
    assert {face.track.number for faces in placed for face in faces} == {1}


def test_association_takes_the_nearest_of_like_size():
    known = [face_at(100, 100), face_at(200, 100)]
    assert associate(known, [face_at(196, 100), face_at(104, 100)]) == {0: 1, 1: 0}
    assert associate(known, [face_at(130, 100), face_at(100, 100, scale=2)]) == {}
    assert associate([face_at(100, 100), face_at(105, 100)], [face_at(104, 100)]) == {1: 0}
    assert fade([]) == 1 and fade([0]) == 0 and fade([3, -2]) == 2 / (FADE + 1)
