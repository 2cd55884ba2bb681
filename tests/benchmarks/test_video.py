# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""benchmarks/video.py: its numbers for a network that changes nothing, and for frames that are known."""
import numpy as np
import pytest

from benchmarks import video
from restore import tracks
from restore.photo import PhotoRestorer
from tests.helpers.videos import Network


def test_a_network_that_changes_nothing_flickers_as_the_source(monkeypatch):
    monkeypatch.setattr(tracks, "SEARCH", tracks.SEARCH)  # measure() sets it
    row = video.measure(PhotoRestorer({"w": Network()}, max_face=200), "still", 3, 8, 20)
    assert row["flicker"] == 1 and row["alone"] == 1 and row["tracks"] == 1 and row["searched"] == 3
    assert 0 < row["jitter"] < 0.02


def test_flicker_is_the_ratio_of_squared_steps():
    before = [np.full((video.HEIGHT, video.WIDTH, 3), value, np.uint8) for value in (100, 102, 100)]
    after = [frame * 2 for frame in before]
    assert video.flicker(after, before) == pytest.approx(4)
    assert video.flicker(before[:1] * 3, before[:1] * 3) == 0 and video.flicker(after, before[:1] * 3) == ""
