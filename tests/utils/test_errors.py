# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Exceptions that are reported in one line, and exceptions that show a traceback."""
import errno
import os
import re
import sys

import pytest

from utils.errors import run_main


def test_a_disk_that_takes_nothing_any_more_is_one_line(capsys):
    from utils.errors import run_main

    def fail(number):
        raise OSError(number, os.strerror(number), "train.log")
    with pytest.raises(SystemExit) as end:
        run_main(lambda: fail(errno.ENOSPC))
    assert end.value.code == 1
    assert re.fullmatch("error: could not write train.log: No space left on device. .*\n", capsys.readouterr().err)
    with pytest.raises(FileNotFoundError):  # a bug in this project must show its traceback
        run_main(lambda: fail(errno.ENOENT))


@pytest.mark.parametrize("error", [
    MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ..."),
    RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB")])
def test_too_little_memory_is_one_line(capsys, error):
    def main():
        raise error
    statuses = []
    run_main(main, statuses.append)
    assert statuses == [1] and capsys.readouterr().err.startswith("error: not enough memory: ")


@pytest.mark.parametrize("error", [
    BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)), OSError(errno.EMFILE, os.strerror(errno.EMFILE), "a.png"),
    RuntimeError("can't start new thread")])
def test_a_limit_on_processes_threads_or_files_is_one_line(capsys, error):
    def main():
        raise error
    statuses = []
    run_main(main, statuses.append)
    told = capsys.readouterr().err
    assert statuses == [1] and told.startswith("error: a limit of the system is reached: ") and told.count("\n") == 1


def test_a_program_runs_without_a_console(monkeypatch):
    """Python sets sys.stdout and the others to None if the caller closed them."""
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    statuses = []
    run_main(lambda: print("lost", file=sys.stderr), statuses.append)
    assert statuses == [None] and sys.stdin.read() == ""
