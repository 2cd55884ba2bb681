# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Where a tool may write: apart from its inputs, into a new or an empty folder."""
from pathlib import Path

from utils.errors import UserError, shown


def check_apart(source, target, name="FACES"):
    """Raises UserError if one folder contains the other: output files could replace inputs or be read as inputs.

    name: the argument that is `source`.
    """
    source, target = Path(source).resolve(), Path(target).resolve()
    if target.is_relative_to(source) or source.is_relative_to(target):
        raise UserError(f"TARGET {target} and {name} {source}: one folder contains the other; choose a separate "
                        f"TARGET.")


def check_new(target):
    """Raises UserError if the folder `target` holds anything but hidden files: it might not be of this tool.

    Files of an earlier call are refused, too: if its FACES were others, they would be taken for inputs of this call.
    """
    target = Path(target)
    try:
        there = [path for path in target.iterdir() if not path.name.startswith(".")] if target.is_dir() else []
    except OSError as error:
        raise UserError(f"TARGET {shown(target)}: it cannot be read: {error.strerror}.") from None
    if there:
        raise UserError(f"TARGET {shown(target)}: it already holds files, e.g. {shown(min(there).name)}: choose a new "
                        f"or an empty folder.")
