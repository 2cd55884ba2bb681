# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
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
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from utils.errors import UserError
from utils.files import WRITER_FILE, temporary_beside
from utils.names import printable

INDEXED_FROM = 20_000  # files; a shorter list is rebuilt quickly
KINDS_NAMED = 8  # kinds of ignored files that a note names
RACE_NS = 2_000_000_000  # a later change within the clock's resolution could go unnoticed


class FileList(Sequence):
    """Read-only sequence of paths (str) below `root`. An int index gives a path; `at` and slices give a FileList.

    names: uint8 array, all names (relative to root, UTF-8 with surrogateescape) concatenated.
    ends: int64 array, the end of each name in `names`.
    chosen: int64 indices of the files in this list; None: all.
    notes: lines that say which other files and folders below `root` were found and not listed.
    """

    def __init__(self, root, names, ends, chosen=None, notes=()):
        self.root, self._names, self._ends, self._chosen = root, names, ends, chosen
        self.notes = notes

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
        return FileList(self.root, self._names, self._ends, places if self._chosen is None else self._chosen[places],
                        self.notes)

    def __reduce__(self):  # pickles a mapped array as its file's path, not its content
        return _rebuild, (self.root, _mapped_from(self._names), _mapped_from(self._ends), self._chosen,
                          self.notes)


def _mapped_from(values):
    return Path(values.filename) if isinstance(values, np.memmap) else values


def _rebuild(root, names, ends, chosen, notes):
    load = [np.load(v, mmap_mode="r") if isinstance(v, Path) else v for v in (names, ends)]
    return FileList(root, *load, chosen, notes)


def list_files(root, extensions, index_folder=None, leave_out=()):
    """Returns the FileList of all regular files below `root` with one of `extensions` (lower case); follows links.

    Order: top down, sorted within each folder. A folder that links reach several times is listed once.
    Hidden files and folders, whose names start with a dot, are not listed: editors, macOS and interrupted programs
    leave them behind. Nor are pipes, sockets and devices, which could block a reader for ever. A link to a missing
    file is listed: its reader reports it.
    index_folder: a long list is saved here and reused until a folder changes.
    leave_out: folders that are not searched if they lie below `root`. Nor are folders below `root` with a WRITER_FILE:
    a training or newtest.py wrote into them.
    Raises OSError, with its filename, if a folder cannot be read.
    """
    left_out = {identity: str(folder) for folder in leave_out if (identity := _identity(folder))}
    index = index_folder and Path(index_folder) / _key(root, leave_out)
    found = index and read_index(index, root)
    if found is not None:
        return found
    began = time.time_ns()
    names, ends, folders, seen = bytearray(), array("q"), {}, set()
    ignored, skipped = Counter(), []
    waiting = [root]  # folders to search, the next one last
    while waiting:
        folder = waiting.pop()
        state = os.stat(folder)
        identity = state.st_dev, state.st_ino
        is_output = identity in left_out or os.path.lexists(os.path.join(folder, WRITER_FILE))
        if is_output and folder != root:
            skipped.append(os.path.relpath(folder, root))
            continue
        if identity in seen:
            continue
        seen.add(identity)
        folders[os.path.relpath(folder, root)] = state.st_mtime_ns
        with os.scandir(folder) as entries:
            entries = sorted(entries, key=lambda entry: entry.name)
        waiting += [entry.path for entry in reversed(entries) if not entry.name.startswith(".") and _is_folder(entry)]
        for entry in entries:
            if _is_folder(entry):
                continue
            extension = os.path.splitext(entry.name)[1].lower()
            if entry.name.startswith("."):
                ignored["hidden"] += extension in extensions
            elif extension not in extensions:
                ignored[extension or "without extension"] += 1
            elif not _is_regular(entry):
                ignored["pipes, sockets or devices"] += 1
            else:
                names += os.fsencode(os.path.relpath(entry.path, root) if folder != root else entry.name)
                ends.append(len(names))
    found = FileList(root, np.frombuffer(bytes(names), np.uint8), np.frombuffer(ends, np.int64),
                     notes=_notes(root, +ignored, skipped))
    if index and len(found) >= INDEXED_FROM:
        write_index(index, found, folders, began)
    return found


def find_files(folder, extensions, what, index_folder=None, leave_out=()):
    """list_files, but raises UserError, which begins with `what`, if a folder cannot be read."""
    try:
        return list_files(folder, extensions, index_folder, leave_out)
    except OSError as error:
        raise UserError(f"{what}: cannot read {printable(error.filename)}: {error.strerror}.") from None


def _is_folder(entry):
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _is_regular(entry):
    """Returns whether an entry is a regular file, or a link that leads nowhere."""
    try:
        return entry.is_file() or entry.is_symlink() and not os.path.exists(entry.path)
    except OSError:  # a link that leads to itself
        return True


def _identity(folder):
    """Returns what identifies a folder under all of its names, or None if there is no such folder."""
    try:
        state = os.stat(folder)
    except OSError:
        return None
    return state.st_dev, state.st_ino


def _key(root, leave_out):
    """Returns the name of a folder's index, which depends on what is left out of it."""
    below = [path for path in leave_out if Path(path).resolve().is_relative_to(Path(root).resolve())]
    paths = [os.path.abspath(path) for path in (root, *below)]
    return hashlib.sha256(b"\0".join(map(os.fsencode, paths))).hexdigest()[:16]


def _notes(root, ignored, skipped):
    """Returns the lines that say what below `root` is not listed."""
    notes = []
    if ignored:
        kinds = ", ".join(f"{kind} {count}" for kind, count in ignored.most_common(KINDS_NAMED))
        more = ", ..." if len(ignored) > KINDS_NAMED else ""
        files = "file" if ignored.total() == 1 else "files"
        notes.append(f"{root}: {ignored.total()} other {files} ignored ({kinds}{more})")
    notes += [f"{root}: the output folder {folder} is not searched" for folder in skipped]
    return [printable(note) for note in notes]


def write_index(index, files, folders, began):
    """Saves a list atomically as the folder `index`. Does nothing if the folder cannot be written."""
    unfinished = temporary_beside(index)
    try:
        unfinished.mkdir(parents=True)
        np.save(unfinished / "names.npy", files._names)
        np.save(unfinished / "ends.npy", files._ends)
        (unfinished / "folders.json").write_text(json.dumps({"root": os.path.abspath(files.root), "listed_ns": began,
                                                             "folders": folders, "notes": files.notes}),
                                                 encoding="utf-8")
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
        return FileList(root, np.load(index / "names.npy", mmap_mode="r"), np.load(index / "ends.npy", mmap_mode="r"),
                        notes=record["notes"])
    except (OSError, ValueError, KeyError):
        return None
