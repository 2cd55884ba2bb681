# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""What the sender of a photo chooses: options of newphoto.py, by their names."""
from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any, NamedTuple

from restore.page.refusal import Refusal
from restore.photo_choices import ANGLES, PASTES, UPSCALES, WHICH
from utils.errors import shown
from utils.option_types import at_least


class Settings(NamedTuple):
    """The options, with their defaults."""
    upscale: int = UPSCALES[0]
    paste: str = PASTES[0]
    fidelity: float = 0.0
    faces: str = WHICH[0]
    angles: str = ANGLES[0]


CHOICES = {"upscale": UPSCALES, "paste": PASTES, "faces": WHICH, "angles": ANGLES}  # of the others: a number
FIDELITY = at_least(0.0, float, 1.0)


def read_settings(fields: Mapping[str, str]) -> Settings:
    """Returns the Settings of a form's fields. Raises Refusal for unknown names and values."""
    values: dict[str, Any] = {}
    for name, value in fields.items():
        if name not in Settings._fields:
            raise Refusal("unknown_option", option=shown(name, 40), known=", ".join(Settings._fields))
        if name in CHOICES:
            known = {str(choice): choice for choice in CHOICES[name]}
            if value not in known:
                raise Refusal("bad_option", option=name, value=shown(repr(value), 40), known=" / ".join(known))
            values[name] = known[value]
        else:
            try:
                values[name] = FIDELITY(value)
            except (ValueError, argparse.ArgumentTypeError):
                raise Refusal("bad_option", option=name, value=shown(repr(value), 40), known="0 to 1") from None
    return Settings(**values)
