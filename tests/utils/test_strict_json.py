# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""utils/strict_json.py: JSON without Infinity and NaN."""
import json
import math

from utils import strict_json


def test_numbers_that_are_not_finite_become_null():
    content = {"a": [1.5, math.inf, (math.nan, -math.inf)], "b": {"c": True, "d": "Infinity", "e": None}}
    assert json.loads(strict_json.dumps(content)) == {"a": [1.5, None, [None, None]],
                                                      "b": {"c": True, "d": "Infinity", "e": None}}
    assert strict_json.dumps({"a": 1}, indent=1) == json.dumps({"a": 1}, indent=1)
