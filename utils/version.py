# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""What results record of their origin: release number, git commit and command."""
import shlex
import subprocess
import sys
from pathlib import Path

VERSION = "0.2.0"


def commit():
    """Returns the commit, with '+' if files were changed; '' outside a git checkout or without git."""
    try:
        done = subprocess.run(["git", "describe", "--always", "--dirty=+"], cwd=Path(__file__).parent,
                              capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip()


def command():
    """Returns the command line of this program."""
    return shlex.join(["python", *sys.argv])
