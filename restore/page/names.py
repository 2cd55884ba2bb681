# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Names of uploaded files: never used on this machine's disk, but shown, and given back with the download."""
from __future__ import annotations

import os
import re
import unicodedata
from urllib.parse import quote

from utils.names import normalised

LONGEST = 180  # bytes of UTF-8: disks accept 255, and browsers add to a name that is there already
UNNAMED = "photo"


def clean_name(given: str) -> str:
    """Returns the file's own name: without folders, control characters and marks that change the writing direction."""
    name = normalised(re.split(r"[/\\]", given)[-1])
    # C: control, format, surrogate, private and unassigned characters; Z: separators, of which the space stays
    name = "".join(c for c in name if c == " " or unicodedata.category(c)[0] not in "CZ").strip(" .")
    stem, ending = os.path.splitext(name)
    if len(ending.encode()) > 20:  # none that a program would know
        stem, ending = name, ""
    room = LONGEST - len(ending.encode())
    return (stem.encode()[:room].decode(errors="ignore").rstrip() + ending) or UNNAMED


def attachment(name: str) -> str:
    """Returns the header Content-Disposition for a download under `name` (RFC 6266, RFC 5987)."""
    plain = re.sub(r'[^ -~]|["\\%;]', "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
