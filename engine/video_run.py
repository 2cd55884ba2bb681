# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Restores one video file: what newphoto.py does for each."""
from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from restore.ffmpeg import check_installed
from restore.photo import FoundFace, PhotoRestorer
from restore.video import VideoRestorer
from restore.video_file import MOST_PIXELS, Video, read_video, reading, writing
from utils.files import open_regular, replacing
from utils.images import BadImage

SAID_EVERY = 5.0  # seconds between two lines about the progress
PIECE = 2 ** 20  # bytes that are copied at a time


class VideoRun:
    """Restores one video.

    photo: with the options of this call. say: takes a line about the progress. After `restore`: notes, tracks
    (restore/tracks.py), examples (a restored face per track) and about (what a report says).
    """

    def __init__(self, source: Path, photo: PhotoRestorer, say: Callable[[str], None]) -> None:
        """Raises BadImage for a file that cannot be read, or kept."""
        self.source, self._photo, self._say = source, photo, say
        self.state = _state(source)
        self.video: Video = read_video(source)
        width, height = self.video.size
        if width * height * photo.upscale ** 2 > MOST_PIXELS:
            raise BadImage(source, f"enlarged {photo.upscale} times its frames would have more than {MOST_PIXELS:,} "
                                   f"pixels")
        self._restorer = VideoRestorer(photo)
        self.notes = list(self.video.notes)
        self.frames = 0

    @property
    def tracks(self):
        return self._restorer.tracks

    @property
    def examples(self) -> list[FoundFace]:
        return [self._restorer.examples[track] for track in self.tracks if track in self._restorer.examples]

    @property
    def about(self) -> dict[str, Any]:
        """What a report says of the video, for JSON."""
        return {"notes": self.notes, "frames": self.frames, "searched": self._restorer.searches,
                "tracks": [track.record() for track in self.tracks]}

    @property
    def changed(self) -> bool:
        """Whether the output differs from the source: a face was restored, or the video is enlarged."""
        return self._photo.upscale > 1 or any(track.restored for track in self.tracks)

    def restore(self, target: Path, before_replacing: Callable[[], None]) -> bool:
        """Writes the restored video to `target` whole or not at all; returns whether there was something to restore.

        If not, nothing is written. before_replacing: called when the new file is complete. Raises BadImage, WriteError.
        """
        with contextlib.suppress(_Unchanged), replacing(target, make_folder=True) as file:
            self._encode(Path(file.name), target)
            if _state(self.source) != self.state:
                raise BadImage(self.source, "it was changed while it was read")
            if not self.changed:
                raise _Unchanged  # removes the new file
            before_replacing()
        return self.changed

    def copy(self, target: Path) -> None:
        """Writes the video as it is to `target`. Raises WriteError."""
        with replacing(target, make_folder=True) as file, open_regular(self.source) as own:
            while piece := own.read(PIECE):
                file.write(piece)

    def summary(self, otherwise: str) -> str:
        """Returns a line on what was done; otherwise: what a video without a restored face is called."""
        if not self.tracks:
            return "; ".join([f"no face found in {self.frames} frames, {otherwise}", *self.notes])
        done = sum(bool(track.restored) for track in self.tracks)
        left = sum((track.skipped for track in self.tracks), start=Counter())
        return "; ".join([f"{done} of {len(self.tracks)} faces restored in {self.frames} frames",
                          *(f"left as it is in {number} frames: {reason}" for reason, number in left.most_common()),
                          *self.notes])

    def _encode(self, unfinished, target):
        frames_in = deque()

        def pictures():
            for frame in frames:
                frames_in.append(frame)
                yield frame.pixels
        with contextlib.ExitStack() as running:
            frames = running.enter_context(reading(self.video))
            writer, started = None, time.monotonic()
            said = started
            for picture in self._restorer(pictures()):
                frame = frames_in.popleft()._replace(pixels=picture)
                if writer is None:
                    writer = running.enter_context(writing(self.video, frame, unfinished, target))
                writer.write(frame)
                self.frames += 1
                if time.monotonic() - said >= SAID_EVERY:
                    said = time.monotonic()
                    self._say(self._progress(said - started))
            writer.finish()
            if frames.damage:
                self.notes.append(f"it is damaged; what cannot be decoded is left out: {frames.damage}")

    def _progress(self, seconds):
        rate, total = self.frames / seconds, self.video.frames
        if not total or total < self.frames:
            return f"{self.frames} frames, {rate:.3g} frames/s"
        return f"{self.frames} of {total} frames, {rate:.3g} frames/s, {(total - self.frames) / rate:.0f} s left"


class _Unchanged(Exception):
    """There was nothing to restore in a video."""


def digest(path: Path) -> str:
    """Returns the SHA-256 of a video's file; BadImage if it cannot be read, or if ffmpeg is not installed."""
    check_installed(path)
    found = hashlib.sha256()
    try:
        with open_regular(path) as file:
            while piece := file.read(PIECE):
                found.update(piece)
    except OSError as error:
        raise BadImage(path, error.strerror) from None
    return found.hexdigest()


def _state(path):
    """Returns what changes when a file is written, None if it is gone."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
