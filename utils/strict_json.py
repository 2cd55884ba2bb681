# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Strict JSON, which every reader accepts: inf and nan, which JSON lacks, become null."""
import json
import math


def dumps(content, indent=None):
    """Returns the JSON text of nested dicts, lists and plain values; inf and nan are written as null."""
    return json.dumps(_finite(content), indent=indent, allow_nan=False)


def _finite(content):
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
