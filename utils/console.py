# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The console: streams that may be closed, and messages of several lines."""
import os
import sys

from utils.names import printable


def indented(text: str) -> str:
    """Returns a message with each line printable; what follows a line break does not look like a new message."""
    return "\n  ".join(map(printable, text.split("\n")))


def open_missing_streams() -> None:
    """Points closed standard streams (`>&-`) to /dev/null: otherwise the next file would get their number."""
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def drop_stdout() -> None:
    """Points stdout to /dev/null after it has failed: what is still in its buffer would fail again at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
