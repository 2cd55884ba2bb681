# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Restores the faces in a video: as photos are, but each face is followed, so that it neither flickers nor jumps."""
from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import cv2
import numpy as np

from restore.photo import FoundFace, PhotoRestorer
from restore.tracks import RADIUS, Placed, Track, Tracker

EXAMPLES = 24  # tracks of which an example is kept: memory does not grow with the video
KEPT = 0.9  # most share of the frames before in what is changed, where nothing moves
STILL, MOVING = 4, 12  # grey values by which a part of a face differs from the frames before: it is still; it has moved
BLUR = (5, 5)  # pixels of the crop that are averaged before they are compared: noise is no motion


class Steady(NamedTuple):
    """Averages over the last frames where a face was still: float32 [S, S, 3] of its crop, and of its change.

    count: of the frames since the first one, float32 [S, S, 1]; since the last motion where there was one.
    """
    aligned: np.ndarray
    change: np.ndarray
    count: np.ndarray


class VideoRestorer:
    """Restores the faces of one video.

        restore = VideoRestorer(PhotoRestorer({"face128": Restorer.load("face128")}))
        for picture in restore(pictures):
            ...
        restore.tracks

    A picture comes out when RADIUS further ones have come in: as many are in memory, however long the video is.
    examples: of each of the first tracks the first face that is fully restored, as a FoundFace with its crops.
    """

    def __init__(self, photo: PhotoRestorer) -> None:
        self._photo = photo
        self._tracker = Tracker(photo.find, photo.follow, photo.judge,
                                None if photo.which == "all" else photo.rank)
        self._last: dict[Track, FoundFace] = {}  # the faces of the frame before, restored
        self._steady: dict[Track, Steady] = {}  # likewise
        self.examples: dict[Track, FoundFace] = {}

    @property
    def tracks(self) -> list[Track]:
        """The faces that were found so far (restore/tracks.py)."""
        return self._tracker.tracks

    @property
    def searches(self) -> int:
        """Number of frames that were searched for faces."""
        return self._tracker.searches

    def __call__(self, pictures: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yields the restored pictures; pictures: uint8 [H, W, 3], RGB, all of one shape."""
        waiting: deque[np.ndarray] = deque()
        for picture in pictures:
            self._tracker.add(picture)
            waiting.append(picture)
            if len(waiting) > RADIUS:
                yield self._restore(waiting.popleft(), self._tracker.count - 1 - RADIUS)
        while waiting:
            yield self._restore(waiting.popleft(), self._tracker.count - len(waiting) - 1)

    def _restore(self, picture, frame):
        placed = self._tracker.placed(frame)
        faces = self._restore_faces([self._photo.cut(picture, one.found) for one in placed], placed)
        known, self._steady = self._steady, {}
        self._last = {}
        pasted = []
        for one, face in zip(placed, faces, strict=True):
            if one.strength == 1 and len(self.examples) < EXAMPLES:
                self.examples.setdefault(one.track, face)
            self._last[one.track] = face
            base = face.crop.aligned.astype(np.float32) if self._photo.paste == "delta" else np.float32(0)
            steady = steadied(known.get(one.track), face.crop.aligned, face.crop.restored - base)
            self._steady[one.track] = steady
            pasted.append(face._replace(crop=face.crop._replace(restored=base + steady.change,
                                                                  strength=one.strength)))
        return self._photo.paste_faces(picture, pasted)

    def _restore_faces(self, faces: list[FoundFace], placed: list[Placed]) -> list[FoundFace]:
        """Returns the faces with restored crops; one that is the same as in the frame before is not restored again."""
        same = [self._last[one.track] if one.track in self._last and _is_same(face, self._last[one.track]) else None
                for face, one in zip(faces, placed, strict=True)]
        new = iter(self._photo.restore([face for face, known in zip(faces, same, strict=True) if known is None]))
        return [next(new) if known is None else face._replace(crop=face.crop._replace(restored=known.crop.restored))
                for face, known in zip(faces, same, strict=True)]


def steadied(before: Steady | None, aligned: np.ndarray, change: np.ndarray) -> Steady:
    """Returns the averages of a face's crop and of its change up to this frame.

    aligned: uint8 [S, S, 3], the crop. change: float32 of the same shape, what the network makes of it. A part that
    differs from the average of the frames before has moved: there only the new frame counts.
    """
    if before is None or before.aligned.shape != aligned.shape:
        return Steady(aligned.astype(np.float32), change, np.ones((*aligned.shape[:2], 1), np.float32))
    apart = np.abs(cv2.blur(before.aligned - aligned, BLUR)).mean(-1, keepdims=True)
    count = before.count * np.clip((MOVING - apart) / (MOVING - STILL), 0, 1)
    kept = np.minimum(KEPT, count / (count + 1))
    return Steady(aligned + kept * (before.aligned - aligned), change + kept * (before.change - change), count + 1)


def _is_same(face, known):
    return face.weights == known.weights and np.array_equal(face.crop.aligned, known.crop.aligned)
