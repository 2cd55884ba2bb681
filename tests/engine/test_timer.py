# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The timer of training steps."""
import time

import pytest
import torch

from engine.timer import StepTimer


def test_timer_leaves_out_pauses_and_first_steps(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def step(data, forward, backward):
        timer.start_step()
        now[0] += data
        timer.got_data()
        now[0] += forward
        timer.mark("forward")
        now[0] += backward
        timer.mark("backward")
        timer.step_done()
    timer = StepTimer(torch.device("cpu"), total_steps=8)  # the first 4 are left out
    for _ in range(3):
        step(9, 9, 9)
    assert timer.window()["total"] == 27 and timer.mean() == (None, 0)
    step(9, 9, 9)
    for _ in range(2):
        step(1, 2, 3)
    timer.pause()
    now[0] += 1000  # a validation
    timer.resume()
    step(1, 2, 3)
    means = timer.window()
    assert means == pytest.approx({"total": (27 + 3 * 6) / 4, "data": (9 + 3) / 4, "forward": (9 + 6) / 4,
                                   "backward": (9 + 9) / 4})
    assert timer.mean() == (6, 3)
    step(2, 2, 4)
    timer.window()
    assert timer.mean() == (pytest.approx((3 * 6 + 8) / 4), 4)
