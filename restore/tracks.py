# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Follows faces through the frames of a video, and smooths their points so that nothing flickers.

A search for faces costs much more than a look at a known one. So only every few frames are searched; between them each
face is followed by O-Net alone. A face that a search finds first is followed backwards too, through the frames that are
not written yet. What is decided about a frame takes the next RADIUS frames into account.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

from restore.face_finder import TRUST, Face
from restore.photo import FoundFace

RADIUS = 8  # frames before and after one that have a say in it
SEARCH = 8  # frames from one search to the next; not above RADIUS: a face is followed back to where it came from
GAP = 4  # frames until a face that is not seen is gone
FADE = 4  # frames in which a face comes or goes; with GAP not above RADIUS: a fade begins before the face is gone
WIDTH = 2.5  # standard deviation of the smoothing window in frames
AT_REST, IN_MOTION = 0.04, 0.12  # eyes' distances from the smoothed path: only it counts below, and nothing of it above
NEAR, ALIKE = 1.0, 1.5  # two finds are one face: eyes' distances between them; ratio of their eyes' distances
TWICE = 0.5  # eyes' distances: two tracks that are nearer follow the same face
UNCONFIRMED = 3  # searches in a row that do not find a followed face, after which it is none
BETTER = 0.2  # share by which another face must be larger, or nearer to the centre, to be chosen instead
THUMBNAIL, CUT = (32, 18), 24  # pixels; mean difference of grey values of two frames of different scenes


class Placed(NamedTuple):
    """A face of one frame: its track, the FoundFace with smoothed points, and how strongly it is restored, 0 to 1."""
    track: Track
    found: FoundFace
    strength: float


class Track:
    """One face through the frames. number: from 1 on. first, last: frames in which it was seen, from 0 on.

    recent: {frame: FoundFace without a crop} of the last frames.
    """

    def __init__(self, number: int) -> None:
        self.number, self.first, self.last = number, -1, -1
        self.recent: dict[int, FoundFace] = {}
        self.gone = False  # it will not be seen again
        self.unconfirmed = 0  # searches in a row that did not find it
        self.restored = 0  # frames in which it was restored, by any strength
        self.sides = (np.inf, 0.0)
        self.weights: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()

    def note(self, frame: int, found: FoundFace) -> None:
        """Takes the face as it was seen in a frame."""
        self.first = frame if self.first < 0 else min(self.first, frame)
        self.last = max(self.last, frame)
        self.recent[frame] = found
        if found.side is not None:
            self.sides = min(self.sides[0], found.side), max(self.sides[1], found.side)

    def forget(self, before: int) -> None:
        """Drops what was seen before a frame."""
        for frame in [frame for frame in self.recent if frame < before]:
            del self.recent[frame]

    def at(self, frame: int) -> FoundFace | None:
        """Returns the face in a frame; in a short gap as it was before the gap; None where it is not seen.

        Until it is decided whether a gap is short, it is.
        """
        if frame in self.recent:
            return self.recent[frame]
        before = [seen for seen in self.recent if seen < frame]
        after = [seen for seen in self.recent if seen > frame]
        bridged = before and (min(after) - max(before) <= GAP if after else not self.gone)
        return self.recent[max(before)] if bridged else None

    def record(self) -> dict[str, Any]:
        """Returns what a report says of it, for JSON. skipped: {why the face stayed as it is: number of frames}."""
        sides = [round(side, 1) for side in self.sides] if self.sides[1] else None
        return {"track": self.number, "first": self.first, "last": self.last, "restored": self.restored,
                "sides": sides, "weights": dict(self.weights), "skipped": dict(self.skipped)}


class Tracker:
    """Finds the tracks of a video: `add` each frame, then ask for what is `placed` in a frame RADIUS earlier.

    find: picture -> faces. follow: (picture, faces) -> the same faces, moved (FaceFinder.follow). judge: (face, weights
    of the frame before or None) -> FoundFace (PhotoRestorer.judge). rank: (face, shape) -> a number, lowest for the one
    face that is restored; None: all are.
    """

    def __init__(self, find: Callable[[np.ndarray], Iterable[Face]],
                 follow: Callable[[np.ndarray, Sequence[Face]], list[Face]],
                 judge: Callable[[Face, str | None], FoundFace],
                 rank: Callable[[Face, tuple[int, ...]], float] | None = None) -> None:
        self._find, self._follow, self._judge, self._rank = find, follow, judge, rank
        self.tracks: list[Track] = []
        self.searches = 0
        self.count = 0  # frames so far
        self._cuts = [0]  # first frames of the scenes, as far as they matter now
        self._active: list[Track] = []  # that may be seen again
        self._live: list[Track] = []  # that frames not placed yet may need
        self._pictures: list[np.ndarray] = []  # the last RADIUS frames
        self._thumbnail = None
        self._searched = -SEARCH
        self._chosen: Track | None = None

    def add(self, picture: np.ndarray) -> None:
        """Takes the next frame, uint8 [H, W, 3], RGB, all of one shape."""
        frame, thumbnail = self.count, _thumbnail(picture)
        self.count += 1
        if self._pictures and np.array_equal(picture, self._pictures[-1]):
            for track in self._active:
                if frame - 1 in track.recent:
                    track.note(frame, track.recent[frame - 1])
            self._searched += 1
        else:
            if self._thumbnail is not None and is_cut(self._thumbnail, thumbnail):
                self._cuts.append(frame)
                self._end([])
                self._searched, self._chosen = -SEARCH, None
            self._look(frame, picture)
        self._thumbnail = thumbnail
        self._pictures = [*self._pictures[-RADIUS + 1:], picture]
        self._end([track for track in self._active if frame - track.last < GAP])
        self._cuts = [cut for i, cut in enumerate(self._cuts) if cut >= frame - 2 * RADIUS or i == len(self._cuts) - 1]
        for track in self._live:
            track.forget(frame - 3 * RADIUS)
        self._live = [track for track in self._live if track.recent]

    def _end(self, going_on):
        """Ends the active tracks except `going_on`."""
        for track in self._active:
            track.gone = track not in going_on
        self._active = going_on

    def _look(self, frame, picture):
        """Follows and searches the faces of a new frame."""
        known = [track for track in self._active if frame - 1 in track.recent]
        moved = self._follow(picture, [track.recent[frame - 1].face for track in known])
        faces = {track: face for track, face in zip(known, moved, strict=True) if face.trust >= TRUST}
        faces = _without_twins(faces)
        new = []
        if frame - self._searched >= SEARCH or len(faces) < len(self._active):
            self._searched, self.searches = frame, self.searches + 1
            found = list(self._find(picture))
            tracks = list(self._active)
            pairs = associate([faces.get(track) or track.recent[track.last].face for track in tracks], found)
            for place, track in enumerate(tracks):
                if place in pairs:
                    # The followed points: those of a search begin elsewhere, and would differ a little every time.
                    face, own = found[pairs[place]], faces.get(track)
                    faces[track], track.unconfirmed = face.moved(own.points, own.trust) if own else face, 0
                elif track in faces:
                    track.unconfirmed += 1
                    if track.unconfirmed >= UNCONFIRMED:
                        del faces[track]
            new = [face for place, face in enumerate(found) if place not in pairs.values()]
        for face in new:
            track = Track(len(self.tracks) + 1)
            self.tracks.append(track)
            self._active.append(track)
            self._live.append(track)
            faces[track] = face
        self._choose(faces, picture.shape)
        for track, face in faces.items():
            track.note(frame, self._found(track, face, frame - 1))
        for track in self._active[len(self._active) - len(new):]:
            self._follow_back(track, frame)

    def _follow_back(self, track, frame):
        """Follows a face that was found first in `frame` through the frames before it."""
        for earlier in range(frame - 1, max(frame - len(self._pictures), self._cuts[-1]) - 1, -1):
            face, = self._follow(self._pictures[earlier - frame], [track.recent[earlier + 1].face])
            others = [other.recent[earlier].face for other in self._live
                      if other is not track and earlier in other.recent]
            if face.trust < TRUST or any(_distance(face, other) < TWICE for other in others):
                break
            track.note(earlier, self._found(track, face, earlier + 1))

    def _found(self, track, face, neighbour):
        if self._rank and track is not self._chosen:
            return FoundFace(face, skipped="another face is chosen")
        beside = track.recent.get(neighbour)
        return self._judge(face, beside.weights if beside and not beside.skipped else None)

    def _choose(self, faces, shape):
        """Chooses the one face to restore; it stays chosen in a short gap, and while no other one is clearly better."""
        if self._rank is None or not faces or self._chosen not in faces and self._chosen in self._active:
            return
        ranks = {track: self._rank(face, shape) for track, face in faces.items()}
        best = min(ranks, key=ranks.get)
        own = ranks.get(self._chosen)
        if own is None or ranks[best] < own - BETTER * abs(own):
            self._chosen = best

    def placed(self, frame: int) -> list[Placed]:
        """Returns the faces to restore in a frame. The next RADIUS frames must have been added, or be none."""
        start = max((cut for cut in self._cuts if cut <= frame), default=0)
        end = min((cut for cut in self._cuts if cut > frame), default=self.count)
        window = range(max(start, frame - RADIUS), min(end, frame + RADIUS + 1))
        result = []
        for track in self._live:
            found = track.at(frame)
            if found is None:
                continue
            if found.skipped:
                track.skipped[found.skipped.partition(":")[0]] += 1
                continue
            seen = [at for at in window if at in track.recent]
            points = smoothed(seen, [track.recent[at].face.points for at in seen], frame)
            shown = [(at, track.at(at)) for at in window]
            strength = fade([at - frame for at, other in shown if other is None or other.skipped])
            track.restored += 1
            track.weights[found.weights] += 1
            result.append(Placed(track, found._replace(face=found.face.moved(points, found.face.trust)), strength))
        return result


def fade(hidden: Iterable[int]) -> float:
    """Returns how strongly a face is restored, 0 to 1; hidden: how many frames away it is not restored at all."""
    return min([1.0, *(abs(distance) / (FADE + 1) for distance in hidden)])


def smoothed(frames: Sequence[int], points: Sequence[np.ndarray], at: int) -> np.ndarray:
    """Returns the points, float32 [5, 2], of a face in frame `at` from those of the frames around it.

    A straight line is laid through each coordinate, weighted by a Gaussian window around `at`: it delays nothing.
    Where the face as a whole leaves that path by more than the finder's error, its own points count.
    """
    steps, values = np.array(frames) - at, np.stack(points).astype(float)
    weights = np.exp(-0.5 * (steps / WIDTH) ** 2)
    middle = (weights * steps).sum() / weights.sum()
    mean = np.tensordot(weights, values, 1) / weights.sum()
    spread = (weights * (steps - middle) ** 2).sum()
    slope = np.tensordot(weights * (steps - middle), values, 1) / spread if spread > 0 else 0
    path = mean - middle * slope
    if at in frames:
        own = values[list(frames).index(at)]
        away = np.linalg.norm((own - path).mean(0)) / max(np.linalg.norm(own[1] - own[0]), 1e-6)
        path += (own - path) * np.clip((away - AT_REST) / (IN_MOTION - AT_REST), 0, 1)
    return path.astype(np.float32)


def associate(faces: Sequence[Face], found: Sequence[Face]) -> dict[int, int]:
    """Returns {place in faces: place in found} of those that are one face, the nearest pairs first."""
    pairs = sorted((_distance(face, other), i, j) for i, face in enumerate(faces) for j, other in enumerate(found)
                   if _distance(face, other) < NEAR
                   and 1 / ALIKE < other.eye_distance / max(face.eye_distance, 1e-6) < ALIKE)
    result: dict[int, int] = {}
    for _, i, j in pairs:
        if i not in result and j not in result.values():
            result[i] = j
    return result


def is_cut(before: np.ndarray, after: np.ndarray) -> bool:
    """Returns whether two frames are of different scenes; both as _thumbnail gives them."""
    return float(np.abs(after - before).mean()) > CUT


def _thumbnail(picture):
    """Returns the frame in grey, float32 [18, 32]."""
    return cv2.resize(picture, THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32).mean(-1)


def _distance(face, other):
    """Returns how far apart two faces' points lie on average, in eyes' distances of the larger one."""
    apart = np.linalg.norm(face.points.mean(0) - other.points.mean(0))
    return float(apart / max(face.eye_distance, other.eye_distance, 1e-6))


def _without_twins(faces):
    """Returns {track: face} without later tracks that follow the face of an earlier one."""
    kept = {}
    for track, face in faces.items():
        if all(_distance(face, other) >= TWICE for other in kept.values()):
            kept[track] = face
    return kept
