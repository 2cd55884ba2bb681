# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Finds out whether a path leads into a folder, directly or through symbolic links."""
import os
from collections.abc import Iterator
from pathlib import Path

MOST_LINKS = 40  # in one path, as in the kernel


def visited(path: str | Path) -> Iterator[str]:
    """Yields every file, folder and link that opening `path` visits, each as a path without links before its name."""
    here, parts, links = "/", os.path.join(os.getcwd(), path).split("/")[::-1], 0
    while parts:
        part = parts.pop()
        if part in ("", "."):
            continue
        if part == "..":
            here = os.path.dirname(here)
            continue
        place = os.path.join(here, part)
        yield place
        if os.path.islink(place) and links < MOST_LINKS:
            links += 1
            target = os.readlink(place)
            parts += target.split("/")[::-1]
            here = "/" if target.startswith("/") else here
        else:
            here = place


def leads_into(path: str | Path, folder: str) -> bool:
    """Returns whether opening `path` visits `folder` (an absolute path, links resolved) or anything in it."""
    return any(place == folder or place.startswith(f"{folder}/") for place in visited(path))


def find_way_into(path: str | Path, folder: str) -> str | None:
    """Returns `path`, or the first link or folder below it, that leads into `folder`; None if there is none."""
    pending, seen = [os.fspath(path)], set()
    while pending:
        path = pending.pop()
        if leads_into(path, folder):
            return path
        real = os.path.realpath(path)
        if folder.startswith(f"{real.rstrip('/')}/"):
            return folder
        if real in seen or not os.path.isdir(real):
            continue
        seen.add(real)
        try:
            entries = sorted(os.scandir(real), key=lambda entry: entry.name)
        except OSError:  # the training reports it
            continue
        pending += [entry.path for entry in entries if entry.is_symlink() or entry.is_dir(follow_symlinks=False)]
    return None
