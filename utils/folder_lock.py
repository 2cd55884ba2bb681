# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""One writer per folder. The operating system releases the lock when the process ends, also when it is killed."""
import contextlib
import errno
import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from utils.errors import UserError
from utils.files import WRITER_FILE, write_file
from utils.names import printable

LOCK_FILE = ".lock"
NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)  # a shared file system without locks says one of these


@contextlib.contextmanager
def only_writer(folder: str | os.PathLike, option: str) -> Iterator[bool]:
    """Holds the lock of an existing folder during the block; `as` gives whether its file system has locks.

    option: the one that chooses the folder, for the message. Raises UserError if another process holds the lock, which
    the message names; nothing in the folder has then changed. Raises UserError at the end if the folder was removed
    during the block. On a file system without locks, a warning is printed instead.
    """
    folder = Path(folder)
    lock = _acquire(folder, option)
    if lock is None:
        print(f"warning: {folder} is on a file system without locks: no other process may write into it now.",
              flush=True)
    try:
        write_file(folder / WRITER_FILE, f"process {os.getpid()} on host {os.uname().nodename}, since "
                                         f"{time.strftime('%Y-%m-%d %H:%M:%S')},")
        yield lock is not None
        require_folder(folder)
    finally:
        if lock:
            lock.release()


def require_folder(folder: Path) -> None:
    """Raises UserError if a folder that only_writer holds was removed or moved: what was written is then lost."""
    if not (folder / WRITER_FILE).exists():
        raise UserError(f"{printable(folder)} was removed, moved or emptied while this process wrote into it: its "
                        f"files are lost or incomplete. Run the command again, and leave the folder alone meanwhile.",
                        status=1)


def move_aside(folder: Path, what: str) -> None:
    """Moves the files of `folder`, except hidden ones, to FOLDER.previous, FOLDER.previous.2 ..., and prints a line.

    The caller holds the folder's lock. what: the word for the files in that line, e.g. results.
    """
    earlier = [path for path in folder.iterdir() if not path.name.startswith(".")]
    if not earlier:
        return
    aside = new_folder_beside(folder.resolve())
    for path in earlier:
        path.rename(aside / path.name)
    (aside / WRITER_FILE).touch()  # as in `folder`: marks results, which are never faces (utils/file_list.py)
    print(f"{printable(folder)} held earlier {what}: moved to {printable(aside)}.", flush=True)


def new_folder_beside(folder):
    """Makes and returns FOLDER.previous, FOLDER.previous.2, ...: the first that does not exist."""
    for number in itertools.count(1):
        aside = folder.with_name(f"{folder.name}.previous" + (f".{number}" if number > 1 else ""))
        try:
            aside.mkdir()
        except FileExistsError:
            continue
        return aside


def refuse_if_in_use(folder: str | os.PathLike, option: str) -> None:
    """Raises UserError as only_writer does if another process writes into the folder; changes nothing."""
    if (Path(folder) / LOCK_FILE).exists():
        lock = _acquire(Path(folder), option)
        if lock:
            lock.release()


def _acquire(folder, option):
    """Returns the acquired lock, or None on a file system without locks."""
    lock = FileLock(folder / LOCK_FILE, timeout=0)
    try:
        lock.acquire()
    except (Timeout, RuntimeError):  # RuntimeError: this process holds it through another object
        raise UserError(f"{folder} is in use: {_writer(folder)} writes into it. Wait until it has ended, or choose "
                        f"another {option}.") from None
    except OSError as error:
        if error.errno in NO_LOCKS:
            return None
        raise UserError(f"cannot write into {folder}: {error.strerror}. Choose another {option} or make the folder "
                        f"writable.") from None
    return lock


def _writer(folder):
    """Returns who writes into the folder."""
    try:
        text = (folder / WRITER_FILE).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        text = ""
    return text or "another process"
