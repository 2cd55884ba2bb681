# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""utils/files.py: writes are atomic, names may have any length, and errors say what to do."""
import errno
import os

import pytest
import torch

from utils.errors import UserError
from utils.files import WriteError, is_temporary, replacing, temporary_beside, write_file


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", ["a.txt", "é" * 125, "x" * 250 + ".json"])
def test_a_name_of_any_length(tmp_path, name):
    for content in ("first", b"second"):
        write_file(tmp_path / name, content)
    assert names(tmp_path) == [name] and (tmp_path / name).read_bytes() == b"second"


def test_the_temporary_name_is_hidden_short_and_names_the_process(tmp_path):
    path = temporary_beside(tmp_path / ("x" * 250))
    assert path.parent == tmp_path and len(path.name) < 40 and str(os.getpid()) in path.name.split(".")
    path.touch()
    assert is_temporary(path) and temporary_beside(tmp_path / "y") != temporary_beside(tmp_path / "y")
    assert not any(is_temporary(tmp_path / name) for name in (".x.tmp", ".1.tmp", "1.01234567.tmp", ".1.0123456Z.tmp"))


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, UserError, RuntimeError])
def test_a_block_that_fails_changes_nothing(tmp_path, failure):
    write_file(tmp_path / "a", "before")
    with pytest.raises(failure, match="inside"), replacing(tmp_path / "a") as file:
        file.write(b"half")
        assert len(names(tmp_path)) == 2
        raise failure("inside")
    assert names(tmp_path) == ["a"] and (tmp_path / "a").read_text() == "before"


@pytest.mark.parametrize("number, advice", [
    (errno.ENOSPC, "No space left on device. .*Free some space, then go on"), (errno.EDQUOT, "quota.*Free some space"),
    (errno.EROFS, "Read-only file system.* Make .* writable"), (errno.EACCES, "Permission denied.*writable"),
    (errno.EIO, "Input/output error.*Check the disk")])
def test_an_error_says_what_to_do(tmp_path, number, advice):
    with pytest.raises(WriteError, match=f"cannot write .*a.pth: .*{advice}") as error, \
            replacing(tmp_path / "a.pth", repeat="go on"):
        raise OSError(number, os.strerror(number))
    assert error.value.status == 1 and "\n" not in str(error.value) and error.value.reason == os.strerror(number)
    assert names(tmp_path) == []


def test_paths_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for path, reason in (("gone/a", "the folder .*gone does not exist"), ("file/a", "file is not a folder"),
                         ("folder", "it is a folder"), ("x" * 300, "too long.*shorter name")):
        with pytest.raises(WriteError, match=reason):
            write_file(tmp_path / path, "text")
    with pytest.raises(WriteError, match="deep is not a folder"):
        write_file(tmp_path / "file" / "deep" / "a", "text", make_folder=True)
    assert names(tmp_path) == ["file", "folder"] and names(tmp_path / "folder") == []
    write_file(tmp_path / "new" / "deep" / "a", "text", make_folder=True)
    assert (tmp_path / "new" / "deep" / "a").read_text() == "text"


def test_a_folder_that_is_removed_meanwhile(tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(WriteError, match="the folder .*run does not exist or was removed.*Make it"), \
            replacing(tmp_path / "run" / "a"):
        for path in (tmp_path / "run").iterdir():
            path.unlink()
        (tmp_path / "run").rmdir()


def test_what_torch_makes_of_a_write_error(tmp_path, monkeypatch):
    class Full:
        def __init__(self, file):
            self.file = file

        def write(self, data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(WriteError, match="No space left"), replacing(tmp_path / "a") as file:
        torch.save(torch.zeros(10), Full(file))
    assert names(tmp_path) == []


def test_durable_files_are_flushed_with_their_folder(tmp_path, monkeypatch):
    flushed = []
    monkeypatch.setattr(os, "fsync", lambda number: flushed.append(os.path.realpath(f"/proc/self/fd/{number}")))
    write_file(tmp_path / "a", "text")
    assert not flushed
    write_file(tmp_path / "b", "text", durable=True)
    assert len(flushed) == 2 and flushed[0].endswith(".tmp") and flushed[1] == str(tmp_path)


def test_names_of_files_that_are_not_utf8_keep_their_bytes(tmp_path):
    write_file(tmp_path / "list", os.fsdecode(b"\xe9.png\n") + "é")
    assert (tmp_path / "list").read_bytes() == b"\xe9.png\n\xc3\xa9"
