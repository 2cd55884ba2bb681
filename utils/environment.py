# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Numbers in environment variables, which a launcher or a platform sets."""
import os
from collections.abc import Mapping

from utils.errors import UserError, shown

MOST_DIGITS = 9


def number(name: str, default: int | None = None, least: int = 0, largest: int | None = None,
           env: Mapping[str, str] = os.environ) -> int:
    """Returns the variable as an integer; `default` if it is not set or empty. Raises UserError."""
    text = env.get(name, "").strip() or ("" if default is None else str(default))
    known = text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS
    if not known or int(text) < least or largest is not None and int(text) > largest:
        to = "" if largest is None else f" to {largest}"
        raise UserError(f"the environment variable {name} must be a number from {least}{to}, not '{shown(text)}'.")
    return int(text)
