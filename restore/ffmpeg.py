# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Runs ffmpeg and ffprobe, so that they read nothing but the given file and never outlive this process's work."""
from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from utils import signals
from utils.errors import shown
from utils.images import BadImage

MISSING = ("ffmpeg and ffprobe, version 5.1 or later, are needed for videos and not installed. Debian and Ubuntu: "
           "apt install ffmpeg; macOS: brew install ffmpeg; others: https://ffmpeg.org/download.html")
# Containers of videos. Not among them are lists of other files or addresses (concat, hls, dash, sdp), images and text.
FORMATS = "mov,matroska,avi,mpegts,mpeg,flv,ogg,asf"
LAST_LINES = 20  # of ffmpeg's messages
PROBE_SECONDS = 120  # to read the head of a file: a file system may be slow; more means that something is wrong


def program(name: str, path: str | Path) -> str:
    """Returns the path of ffmpeg or ffprobe; BadImage, which names the video `path`, if it is not installed."""
    found = shutil.which(name)
    if found is None:
        raise BadImage(path, MISSING)
    return found


def check_installed(path: str | Path) -> None:
    """Raises BadImage, which names the video `path`, unless ffmpeg and ffprobe are installed."""
    for name in ("ffmpeg", "ffprobe"):
        program(name, path)


def source(path: str | Path) -> list[str]:
    """Returns the arguments that make ffmpeg or ffprobe read the file `path`, and no other file or address.

    A name that begins with `-` or `http:` is a name: `file:` stands before it.
    """
    return ["-protocol_whitelist", "file", "-format_whitelist", FORMATS, "-i", file_name(path)]


def file_name(path: str | Path) -> str:
    """Returns a file's name as ffmpeg understands it, whatever the name looks like."""
    return f"file:{os.path.abspath(path)}"


def probe(path: str | Path, *words: str, whole: bool = False) -> dict[str, Any]:
    """Returns what ffprobe says of the video `path`, for the options `words`. Raises BadImage.

    whole: these options make ffprobe read the whole file, for which there is no time limit: it may be of any length.
    """
    command = [program("ffprobe", path), "-v", "error", "-of", "json", *words, *source(path)]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                              timeout=None if whole else PROBE_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise BadImage(path, f"ffprobe did not answer within {PROBE_SECONDS} s") from None
    if done.returncode:
        raise BadImage(path, f"ffmpeg cannot read it: {_cause(done.stderr.splitlines(), done.returncode, path)}")
    return json.loads(done.stdout)


class Running:
    """An ffmpeg that runs. child: its process. messages: its last lines on stderr."""

    def __init__(self, child: subprocess.Popen, path: str | Path) -> None:
        self.child, self.path = child, path
        self.messages: deque[str] = deque(maxlen=LAST_LINES)
        self._reading = threading.Thread(target=self._read_messages, name="ffmpeg messages", daemon=True)
        self._reading.start()

    def _read_messages(self):
        # Read at all times: ffmpeg would wait for ever if the pipe were full. In pieces: a line may be endless.
        while line := self.child.stderr.readline(1000):
            self.messages.append(line.decode(errors="replace"))

    def finish(self) -> str | None:
        """Waits until ffmpeg has ended. Returns None, or why it failed, in one line."""
        status = self.child.wait()
        self._reading.join()
        return _cause(self.messages, status, self.path) if status else None

    def complaint(self) -> str | None:
        """Returns the first of the last messages, None if there are none."""
        return _cause(list(self.messages)[:1], 0, self.path) if self.messages else None

    def end(self) -> None:
        """Kills ffmpeg if it still runs, and closes its pipes."""
        self.child.kill()
        for pipe in (self.child.stdin, self.child.stdout):
            with contextlib.suppress(OSError):
                if pipe:
                    pipe.close()
        self.child.wait()
        self._reading.join()
        self.child.stderr.close()


@contextlib.contextmanager
def running(words: list[str], path: str | Path, **pipes: Any) -> Iterator[Running]:
    """Yields a Running ffmpeg with the options `words`; after the block it is gone, whatever happened.

    path: of the video, for messages. pipes: of subprocess.Popen. It is in a session of its own: Ctrl-C reaches this
    process only, which then ends it.
    """
    command = [program("ffmpeg", path), "-hide_banner", "-nostdin", "-loglevel", "error", *words]
    process = None
    try:
        with signals.deferred():
            process = Running(subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True, **pipes), path)
        yield process
    finally:
        if process:
            process.end()


def _cause(lines, status, path):
    """Returns the most telling of ffmpeg's lines: the last one, without the name of the file and of the part."""
    lines = [line.strip() for line in lines if line.strip()]
    if any("not on whitelist" in line for line in lines):
        return "it is no video by its content, e.g. a list of other files"
    if not lines:
        return f"it ended with status {status}" if status >= 0 else f"signal {-status} ended it"
    said = re.sub(r"^\[[^]]*\] ", "", lines[-1].replace(f"{file_name(path)}: ", ""))
    return shown(said, 200)
