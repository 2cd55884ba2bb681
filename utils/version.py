# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The version of this code: release number and git commit."""
import subprocess
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
