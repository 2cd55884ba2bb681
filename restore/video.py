# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Restores the faces in a video: as photos are, but each face is followed, so that it neither flickers nor jumps."""
from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np

from restore.photo import FoundFace, PhotoRestorer
from restore.tracks import RADIUS, Placed, Track, Tracker


class VideoRestorer:
    """Restores the faces of one video.

        restore = VideoRestorer(PhotoRestorer({"face128": Restorer.load("face128")}))
        for picture in restore(pictures):
            ...
        restore.tracks

    A picture comes out when RADIUS further ones have come in: as many are in memory, however long the video is.
    examples: of each track the first face that is fully restored, as a FoundFace with its crops.
    """

    def __init__(self, photo: PhotoRestorer) -> None:
        self._photo = photo
        self._tracker = Tracker(photo.find, photo.finder.follow, photo.judge,
                                None if photo.which == "all" else photo.rank)
        self._last: dict[Track, FoundFace] = {}  # the faces of the frame before, restored
        self.examples: dict[Track, FoundFace] = {}

    @property
    def tracks(self) -> list[Track]:
        """The faces that were found so far (restore/tracks.py)."""
        return self._tracker.tracks

    def __call__(self, pictures: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yields the restored pictures; pictures: uint8 [H, W, 3], RGB, all of one shape."""
        waiting: deque[np.ndarray] = deque()
        for picture in pictures:
            self._tracker.add(picture)
            waiting.append(picture)
            if len(waiting) > RADIUS:
                yield self._restore(waiting.popleft(), self._tracker.count - 1 - RADIUS)
        while waiting:
            yield self._restore(waiting.popleft(), self._tracker.count - 1 - len(waiting))

    def _restore(self, picture, frame):
        placed = self._tracker.placed(frame)
        faces = self._restore_faces([self._photo.cut(picture, one.found) for one in placed], placed)
        self._last = {one.track: face for one, face in zip(placed, faces, strict=True)}
        for one, face in zip(placed, faces, strict=True):
            if one.strength == 1:
                self.examples.setdefault(one.track, face)
        return self._photo.paste_faces(picture, [
            face._replace(crop=face.crop._replace(strength=one.strength))
            for one, face in zip(placed, faces, strict=True)])

    def _restore_faces(self, faces: list[FoundFace], placed: list[Placed]) -> list[FoundFace]:
        """Returns the faces with restored crops; one that is the same as in the frame before is not restored again."""
        same = [self._last[one.track] if one.track in self._last and _is_same(face, self._last[one.track]) else None
                for face, one in zip(faces, placed, strict=True)]
        new = iter(self._photo.restore([face for face, known in zip(faces, same, strict=True) if known is None]))
        return [next(new) if known is None else face._replace(crop=face.crop._replace(restored=known.crop.restored))
                for face, known in zip(faces, same, strict=True)]


def _is_same(face, known):
    return face.weights == known.weights and np.array_equal(face.crop.aligned, known.crop.aligned)
