# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Work in threads beside the main one: order, failures, and how much waits."""
import threading

import pytest

from utils import background
from utils.background import in_background


def test_results_come_in_order_from_other_threads():
    def work(number):
        return number, threading.current_thread() is threading.main_thread()
    with in_background(work, range(50)) as results:
        assert list(results) == [(number, False) for number in range(50)]


def test_few_items_wait(monkeypatch):
    monkeypatch.setattr(background, "usable_cores", lambda: 1)
    held, made = threading.Event(), []

    def items():
        for number in range(10):
            made.append(number)
            if number == 3:
                held.set()  # the fourth item was asked for: the first result must have been waited for by then
            yield number
    with in_background(lambda number: held.wait(0.2), items()) as results:
        next(results)
        assert made == [0, 1, 2]
        assert len(list(results)) == 9


def test_a_failure_is_raised_in_its_place_and_ends_the_rest():
    started = []

    def work(number):
        started.append(number)
        return 1 / (number - 2)
    with pytest.raises(ZeroDivisionError), in_background(work, range(1000)) as results:
        assert [next(results), next(results)] == [-0.5, -1.0]
        next(results)
    assert len(started) < 100
