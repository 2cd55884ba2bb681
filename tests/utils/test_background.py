# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Work in threads beside the main one: order, failures, and how much waits."""
import threading

import pytest

from utils import background
from utils.background import in_background, in_batches


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


def batches(items, threads, least=4, most=10, size=lambda item: item[1], work=lambda item: item):
    """Returns the lists of items (cost, size)."""
    return [list(batch) for batch in in_batches(work, items, lambda item: item[0], size, least, most, threads)]


@pytest.mark.parametrize("threads", [1, 3])
def test_batches_follow_from_sizes_and_costs(threads):
    assert batches([(1, 1)] * 6 + [(1, 0)] * 3, threads) == [[(1, 1)] * 4, [(1, 1)] * 2 + [(1, 0)] * 3]
    assert batches([(3, 1)] * 4, threads) == [[(3, 1)]] * 4  # two would cost more than half of the most
    assert batches([(1, 9), (1, 1), (30, 0), (1, 1)], threads) == [[(1, 9)], [(1, 1)], [(30, 0)], [(1, 1)]]
    assert batches([], threads) == []


def test_costs_in_flight_are_bounded_and_work_goes_on_ahead():
    in_flight, most, seen, ahead = [], [], [], threading.Event()

    def work(number):
        in_flight.append(number)
        most.append(len(in_flight))
        if number == 4:
            ahead.set()
        return number
    for batch in in_batches(work, range(40), lambda number: 1, lambda number: 1, 4, 10, 3):
        if not seen:
            assert ahead.wait(10)  # the next batch is worked on while this one is in use
        for number in batch:
            in_flight.remove(number)
        seen += batch
    assert seen == list(range(40)) and max(most) <= 10


def test_a_failure_ends_the_batches():
    with pytest.raises(ZeroDivisionError):
        batches([(1, 1)] * 100, 2, work=lambda item: 1 / 0)
