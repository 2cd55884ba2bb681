# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""What the page accepts and keeps. With these, memory has a bound whatever is sent."""
from __future__ import annotations

from typing import NamedTuple

MB = 10 ** 6


class Limits(NamedTuple):
    """file_bytes: of one photo's file. pixels: of a photo, and of its restored (enlarged) one.

    queue: photos that are uploaded, wait or are restored at the same time. waiting_bytes: of all their files.
    kept: restored photos that can be downloaded; kept_bytes: of their files and previews; kept_seconds: since they
    were last asked for. The oldest goes first.
    idle_seconds: until an upload that sends nothing is cut off; upload_seconds: one that sends slowly.
    abandoned_seconds: without a question from the page after which it counts as closed and its photos are cancelled.
    Browsers let pages in the background ask once per minute.
    """
    file_bytes: int = 40 * MB
    pixels: int = 64_000_000
    queue: int = 32
    waiting_bytes: int = 400 * MB
    kept: int = 100
    kept_bytes: int = 800 * MB
    kept_seconds: float = 3600.0
    idle_seconds: float = 20.0
    upload_seconds: float = 300.0
    abandoned_seconds: float = 150.0
