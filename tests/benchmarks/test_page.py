# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""benchmarks/page.py counts every answer, and those that are wrong."""
import os
from types import SimpleNamespace

from benchmarks import page
from tests.helpers.page import photo_file, serving, stub


def test_every_request_is_counted_and_wrong_answers_are_seen(tmp_path):
    calls = []

    def restore(pixels, settings, enter):
        calls.append(1)
        if len(calls) == 4:
            raise MemoryError
        result, faces = stub(pixels, settings, enter)
        return (255 - result if len(calls) == 7 else result), faces
    (tmp_path / "a.png").write_bytes(photo_file())
    with serving(restore) as (address, _):
        rows = page.measure(SimpleNamespace(pid=os.getpid()), f"{address}/", [tmp_path / "a.png"], 10, 2)
    assert [row["requests"] for row in rows] == [2] * 5 and len(calls) == 10
    assert [row["wrong"] for row in rows] == [0, 1, 0, 1, 0]
    assert all(row["photos/s"] > 0 and 0 < row["median wait s"] <= row["longest wait s"] for row in rows)
