"""The files of a folder as a list of paths, small enough for millions, and kept on disk so that it is made once.

Names lie end to end in one array, as bytes, and a second array says where each ends: some 30 bytes a file in place of
a list's 95, shared by all ranks and workers of a machine where it is mapped from an index. The index of a folder is
three files in `index_folder`: names.npy, ends.npy and folders.json, which tells the time of last change of each folder
found. A file that comes or goes changes its folder's time, so that looking at the folders, not at the files, tells
whether the index is still true.
"""
import hashlib
import json
import os
import shutil
import time
from array import array
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from utils.files import temporary_beside

INDEXED_FROM = 20_000  # files; fewer are listed in no time
RACE_NS = 2_000_000_000  # a folder that changed so shortly before it was listed may have changed within one tick


class FileList(Sequence):
    """Paths (str) of files below `root`, read-only; an int gives one, `at` and slices give another FileList.

    names: uint8 array of all names (relative to root, UTF-8 with surrogateescape) end to end. ends: int64, where each
    ends. chosen: int64 indices of those that this list has, None for all.
    """

    def __init__(self, root, names, ends, chosen=None):
        self.root, self._names, self._ends, self._chosen = root, names, ends, chosen

    def __len__(self):
        return len(self._ends if self._chosen is None else self._chosen)

    def __getitem__(self, place):
        if isinstance(place, slice):
            return self.at(np.arange(len(self))[place])
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        place = place % len(self) if self._chosen is None else int(self._chosen[place])
        start = int(self._ends[place - 1]) if place else 0
        return os.path.join(self.root, os.fsdecode(self._names[start:int(self._ends[place])].tobytes()))

    def at(self, places):
        """The FileList of those at `places`, in that order."""
        places = np.asarray(places, dtype=np.int64)
        return FileList(self.root, self._names, self._ends, places if self._chosen is None else self._chosen[places])

    def __reduce__(self):  # to a worker that was not forked goes the place of a mapped array, not its content
        return _rebuild, (self.root, _mapped_from(self._names), _mapped_from(self._ends), self._chosen)


def _mapped_from(values):
    return Path(values.filename) if isinstance(values, np.memmap) else values


def _rebuild(root, names, ends, chosen):
    load = [np.load(v, mmap_mode="r") if isinstance(v, Path) else v for v in (names, ends)]
    return FileList(root, *load, chosen)


def list_files(root, extensions, index_folder=None):
    """FileList of all files below `root` with one of `extensions` (lower case), links followed.

    Folder by folder from the top, sorted within each; a folder that links lead to again, or back to, counts once. With
    `index_folder` a long list is kept there, and read from there as long as no folder has changed. OSError, with its
    filename, for a folder that cannot be read.
    """
    index = index_folder and Path(index_folder) / hashlib.sha256(os.path.abspath(root).encode()).hexdigest()[:16]
    found = index and read_index(index, root)
    if found is not None:
        return found
    began = time.time_ns()
    names, ends, folders, seen = bytearray(), array("q"), {}, set()

    def refuse(error):
        raise error

    for parent, below, files in os.walk(root, onerror=refuse, followlinks=True):
        state = os.stat(parent)
        if (state.st_dev, state.st_ino) in seen:
            below.clear()
            continue
        seen.add((state.st_dev, state.st_ino))
        below.sort()
        folders[os.path.relpath(parent, root)] = state.st_mtime_ns
        for name in sorted(files):
            if os.path.splitext(name)[1].lower() in extensions:
                names += os.fsencode(os.path.relpath(os.path.join(parent, name), root) if parent != root else name)
                ends.append(len(names))
    found = FileList(root, np.frombuffer(bytes(names), np.uint8), np.frombuffer(ends, np.int64))
    if index and len(found) >= INDEXED_FROM:
        write_index(index, found, folders, began)
    return found


def write_index(index, files, folders, began):
    """Keep a list as the folder `index`, whole or not at all; a place that cannot be written to is passed over."""
    unfinished = temporary_beside(index)
    try:
        unfinished.mkdir(parents=True)
        np.save(unfinished / "names.npy", files._names)
        np.save(unfinished / "ends.npy", files._ends)
        (unfinished / "folders.json").write_text(json.dumps({"root": os.path.abspath(files.root), "listed_ns": began,
                                                             "folders": folders}))
        shutil.rmtree(index, ignore_errors=True)
        unfinished.rename(index)
    except OSError:
        shutil.rmtree(unfinished, ignore_errors=True)


def read_index(index, root):
    """The FileList kept in `index`, mapped from disk; None where there is none, or where a folder has changed since."""
    try:
        record = json.loads((index / "folders.json").read_text())
        if record["root"] != os.path.abspath(root):
            return None
        for folder, changed in record["folders"].items():
            now = os.stat(os.path.join(root, folder)).st_mtime_ns
            if now != changed or now > record["listed_ns"] - RACE_NS:
                return None
        return FileList(root, np.load(index / "names.npy", mmap_mode="r"), np.load(index / "ends.npy", mmap_mode="r"))
    except (OSError, ValueError, KeyError):
        return None
