"""A compact list of a folder's file paths, for millions of files, with an index on disk so that it is built once.

One byte array holds all names, concatenated; a second array holds where each name ends. This takes about 30 bytes per
file instead of a list's 95, and a memory-mapped index is shared by all ranks and workers of a machine.

The index of a folder is three files in `index_folder`: names.npy, ends.npy and folders.json, which holds the
modification time of each folder. Adding or removing a file changes its folder's time, so checking the folders, not the
files, shows whether the index is still valid.
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

INDEXED_FROM = 20_000  # files; a shorter list is rebuilt quickly
RACE_NS = 2_000_000_000  # a later change within the clock's resolution could go unnoticed


class FileList(Sequence):
    """Read-only sequence of paths (str) below `root`. An int index gives a path; `at` and slices give a FileList.

    names: uint8 array, all names (relative to root, UTF-8 with surrogateescape) concatenated.
    ends: int64 array, the end of each name in `names`.
    chosen: int64 indices of the files in this list; None: all.
    """

    def __init__(self, root, names, ends, chosen=None):
        self.root, self._names, self._ends, self._chosen = root, names, ends, chosen

    def __len__(self):
        return len(self._ends if self._chosen is None else self._chosen)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return self.at(np.arange(len(self))[index])
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index = index % len(self) if self._chosen is None else int(self._chosen[index])
        start = int(self._ends[index - 1]) if index else 0
        return os.path.join(self.root, os.fsdecode(self._names[start:int(self._ends[index])].tobytes()))

    def at(self, places):
        """Returns the FileList of the files at these indices, in this order."""
        places = np.asarray(places, dtype=np.int64)
        return FileList(self.root, self._names, self._ends, places if self._chosen is None else self._chosen[places])

    def __reduce__(self):  # pickles a mapped array as its file's path, not its content
        return _rebuild, (self.root, _mapped_from(self._names), _mapped_from(self._ends), self._chosen)


def _mapped_from(values):
    return Path(values.filename) if isinstance(values, np.memmap) else values


def _rebuild(root, names, ends, chosen):
    load = [np.load(v, mmap_mode="r") if isinstance(v, Path) else v for v in (names, ends)]
    return FileList(root, *load, chosen)


def list_files(root, extensions, index_folder=None):
    """Returns the FileList of all files below `root` with one of `extensions` (lower case); follows links.

    Order: top down, sorted within each folder. A folder that links reach several times is listed once.
    index_folder: a long list is saved here and reused until a folder changes.
    Raises OSError, with its filename, if a folder cannot be read.
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
    """Saves a list atomically as the folder `index`. Does nothing if the folder cannot be written."""
    unfinished = temporary_beside(index)
    try:
        unfinished.mkdir(parents=True)
        np.save(unfinished / "names.npy", files._names)
        np.save(unfinished / "ends.npy", files._ends)
        (unfinished / "folders.json").write_text(json.dumps({"root": os.path.abspath(files.root), "listed_ns": began,
                                                             "folders": folders}), encoding="utf-8")
        shutil.rmtree(index, ignore_errors=True)
        unfinished.rename(index)
    except OSError:
        shutil.rmtree(unfinished, ignore_errors=True)


def read_index(index, root):
    """Returns the memory-mapped FileList in `index`, or None if there is none or a folder has changed since."""
    try:
        record = json.loads((index / "folders.json").read_text(encoding="utf-8"))
        if record["root"] != os.path.abspath(root):
            return None
        for folder, changed in record["folders"].items():
            now = os.stat(os.path.join(root, folder)).st_mtime_ns
            if now != changed or now > record["listed_ns"] - RACE_NS:
                return None
        return FileList(root, np.load(index / "names.npy", mmap_mode="r"), np.load(index / "ends.npy", mmap_mode="r"))
    except (OSError, ValueError, KeyError):
        return None
