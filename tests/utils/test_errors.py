# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Exceptions that are reported in one line, and exceptions that show a traceback."""
import errno
import os
import re
import sys

import pytest

from utils.errors import run_main


def test_a_disk_that_takes_nothing_any_more_is_one_line(capsys):
    def fail(number):
        raise OSError(number, os.strerror(number), "train.log")
    with pytest.raises(SystemExit) as end:
        run_main(lambda: fail(errno.ENOSPC))
    assert end.value.code == 1
    assert re.fullmatch("error: could not write train.log: No space left on device. .*\n", capsys.readouterr().err)
    with pytest.raises(FileNotFoundError):  # a bug in this project must show its traceback
        run_main(lambda: fail(errno.ENOENT))


@pytest.mark.parametrize("error, message", [
    (MemoryError(), "not enough memory: "),
    (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ..."), "not enough memory: "),
    (RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB"), "not enough memory: "),
    (BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)), "a limit of the system is reached: "),
    (OSError(errno.EMFILE, os.strerror(errno.EMFILE), "a.png"), "a limit of the system is reached: "),
    (RuntimeError("can't start new thread"), "a limit of the system is reached: ")])
def test_too_little_memory_and_limits_of_the_system_are_one_line(capsys, error, message):
    def main():
        raise error
    statuses = []
    run_main(main, statuses.append)
    said = capsys.readouterr().err
    assert statuses == [1] and said.startswith(f"error: {message}") and said.count("\n") == 1


def test_a_program_runs_without_a_console(monkeypatch):
    """Python sets sys.stdout and the others to None if the caller closed them."""
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    statuses = []
    run_main(lambda: print("lost", file=sys.stderr), statuses.append)
    assert statuses == [None] and sys.stdin.read() == ""
