# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Files that are written whole or not at all, and files that are read only if they are regular."""
import contextlib
import errno
import io
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from utils.errors import UserError, shown

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
OF_NAME = (errno.ENAMETOOLONG, errno.EISDIR, errno.EINVAL, errno.EILSEQ)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)

WRITER_FILE = ".writer"  # in a folder into which this project writes: says which process (utils/folder_lock.py)


class WriteError(UserError):
    """A file could not be written. `reason`: the operating system's words, without path and advice.

    of_name: whether the file's name is the cause, so that other files can still be written.
    """

    def __init__(self, message, reason, of_name=False):
        super().__init__(message, status=1)
        self.reason, self.of_name = reason, of_name

    def if_of_name(self):
        """Returns this error if its cause is the file's name; otherwise raises it: no other file can be written."""
        if not self.of_name:
            raise self
        return self


def open_regular(path: str | os.PathLike) -> BinaryIO:
    """Opens a file for reading. Raises OSError for a pipe, a device or a folder, without waiting for a writer."""
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))  # noqa: SIM115
    mode = os.fstat(file.fileno()).st_mode
    if not stat.S_ISREG(mode):
        file.close()
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", os.fspath(path))
    return file


def temporary_beside(path: str | os.PathLike) -> Path:
    """Returns a new hidden name in the folder of `path`: `.PID.RANDOM.tmp`, however long the name of `path` is."""
    return Path(path).with_name(f".{os.getpid()}.{secrets.token_hex(4)}.tmp")


def is_temporary(path: Path) -> bool:
    """Returns whether `path` has a name from temporary_beside: a killed process left it behind."""
    return re.fullmatch(r"\.\d+\.[0-9a-f]{8}\.tmp", path.name) is not None


class _WholeWrites(io.BufferedRandom):
    """A file that hides its descriptor: Pillow writes to it, and takes what a full disk cut short for a whole file."""

    def fileno(self):
        raise io.UnsupportedOperation("this file is written by its write()")


@contextlib.contextmanager
def replacing(path: str | os.PathLike, *, make_folder: bool = False, durable: bool = False,
              repeat: str = "run the command again") -> Iterator[BinaryIO]:
    """Yields a new binary file in the folder of `path`, which becomes `path` when the block ends.

    Until then a file at `path` is unchanged. If the block fails, the new file is removed. The block should only write:
    any OSError in it becomes a WriteError that names `path`, the reason, and what to do.
    make_folder: the folder of `path` is made if it does not exist. durable: the file survives a power cut (content and
    name are flushed to disk). repeat: what the message advises to do once there is space on the disk.
    """
    path = Path(path)
    temporary = temporary_beside(path)
    try:
        if make_folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        with _WholeWrites(io.FileIO(temporary, "x+")) as file:  # some of Pillow's formats read what they have written
            yield file
            if durable:
                file.flush()
                os.fsync(file.raw.fileno())
        os.replace(temporary, path)
        if durable:
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        cause = error.__context__ if isinstance(error, RuntimeError) else error  # torch.save wraps errors of its file
        if not isinstance(cause, OSError):
            raise
        reason, advice = _explain(path, cause, repeat)
        kept = "A file that was there before is unchanged. " if path.parent.is_dir() else ""
        raise WriteError(f"cannot write {path}: {reason}. {kept}{advice}.", reason, cause.errno in OF_NAME) from None


def write_file(path: str | os.PathLike, content: str | bytes, **options) -> None:
    """Writes bytes, or text as UTF-8, to `path`, whole or not at all; options and errors: those of `replacing`.

    Text may hold names of files that are not UTF-8, as Python reads them from a folder: they keep their bytes.
    """
    with replacing(path, **options) as file:
        file.write(content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content)


def check_regular_file(path: str | os.PathLike, largest: int | None = None) -> int:
    """Returns the size in bytes of the regular file at `path` (links are followed).

    Raises UserError, with the reason, if there is none or if it has more than `largest` bytes. A named pipe or a
    device is not opened: reading it could wait for ever.
    """
    try:
        state = os.stat(path)
    except (OSError, ValueError) as error:  # ValueError: a NUL, or characters that no file name can have
        missing = isinstance(error, FileNotFoundError)
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UserError(f"{shown(path, 300)}: there is no such file." if missing else
                        f"{shown(path, 300)}: it cannot be read: {reason}.") from None
    if not stat.S_ISREG(state.st_mode):
        kind = "a folder" if stat.S_ISDIR(state.st_mode) else "a device, named pipe or socket"
        raise UserError(f"{shown(path, 300)}: it is {kind}, not a file.")
    if largest is not None and state.st_size > largest:
        raise UserError(f"{shown(path, 300)}: it has {state.st_size:,} bytes; such a file has {largest:,} at most.")
    return state.st_size


def read_regular_file(path: str | os.PathLike, largest: int) -> bytes:
    """Returns the content of a regular file. Raises UserError as check_regular_file does, or if it cannot be read."""
    check_regular_file(path, largest)
    try:
        with open(path, "rb") as file:
            return file.read(largest)
    except OSError as error:
        raise UserError(f"{shown(path, 300)}: it cannot be read: {error.strerror}.") from None


def _explain(path, error, repeat):
    """Returns (the reason, what to do) for an OSError."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in FULL:
        return reason, f"Free some space, then {repeat}"
    if error.errno in FORBIDDEN:
        return reason, f"Make {path.parent} writable or choose another folder"
    if error.errno == errno.ENOENT:
        return f"the folder {path.parent} does not exist or was removed", f"Make it, then {repeat}"
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return f"{path.parent} is not a folder", "Choose another path"
    if error.errno == errno.EISDIR:
        return "it is a folder", "Remove it or choose another name"
    if error.errno == errno.ENAMETOOLONG:
        return reason, "Choose a shorter name"
    return reason, f"Check the disk, then {repeat}"
