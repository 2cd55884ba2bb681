# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""What newphoto.py writes of each photo and video, by which the next call knows its own files and what is done."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from restore.photo_file import ELSE_SUFFIX
from restore.video_file import ELSE_SUFFIX as ELSE_VIDEO_SUFFIX
from utils import strict_json
from utils.errors import UserError
from utils.files import read_regular_file, write_file

LARGEST = 2 ** 26  # bytes, of a photo's report: a face takes about 500


def read_record(path: Path, name: str) -> dict[str, Any]:
    """Returns an earlier report of the photo `name`; {} if there is none that can be read, or one of another file.

    Its `file` and `also` name the outputs, the newest and the earlier ones.
    """
    try:
        known = json.loads(read_regular_file(path, LARGEST))
    except (UserError, ValueError, RecursionError):
        return {}
    own = (name, f"{name}{ELSE_SUFFIX}", f"{name}{ELSE_VIDEO_SUFFIX}")
    if not isinstance(known, dict) or known.get("file") not in own:
        return {}
    also = known.get("also")
    return known | {"also": [file for file in also if file in own] if isinstance(also, list) else []}


def write_record(path: Path, content: dict[str, Any]) -> None:
    write_file(path, strict_json.dumps(content, indent=1) + "\n", make_folder=True)
