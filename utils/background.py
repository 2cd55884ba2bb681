# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Work of one kind that runs in threads beside the main one."""
from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
MOST_THREADS = 8  # more would mostly wait for each other: Python runs one at a time


def usable_cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def in_background(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Iterator[Result]]:
    """Gives an iterator over work(item) for all items, in their order, for use in a `with` block.

    The items are made in the calling thread, while other threads work on earlier ones; a few wait at most, so that
    memory stays flat. An exception of `work` is raised here, in its item's place. At the end of the block, work that
    has begun is finished, and what waits is dropped.
    """
    threads = max(1, min(MOST_THREADS, usable_cores() - 1))
    pool = ThreadPoolExecutor(threads, thread_name_prefix=work.__name__)

    def results():
        waiting = deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            while len(waiting) > 2 * threads or (waiting and waiting[0].done()):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    try:
        yield results()
    finally:
        pool.shutdown(cancel_futures=True)


def in_batches(work: Callable[[Item], Result], items: Iterable[Item], cost: Callable[[Item], float],
               size: Callable[[Result], int], least: int, most_cost: float, threads: int) -> Iterator[list[Result]]:
    """Yields lists of work(item), in the items' order; threads work ahead of the list that is in use.

    A list ends when the sizes of its results sum to `least` or more, or with half of `most_cost`. The costs of all
    items that are worked on, wait or are in use sum to `most_cost` at most, unless one item alone has more. Which items
    a list holds follows from sizes and costs alone, not from how long work takes. A list is emptied when the next one
    is asked for. An exception of `work` is raised here.
    """
    left = ((item, cost(item)) for item in items)
    following, ahead, batch = next(left, None), deque(), []
    in_flight = of_batch = gathered = 0
    pool = ThreadPoolExecutor(threads, thread_name_prefix=work.__name__)
    try:
        while following or ahead or batch:
            while following and len(ahead) < 2 * threads and (not in_flight or in_flight + following[1] <= most_cost):
                ahead.append((pool.submit(work, following[0]), following[1]))
                in_flight += following[1]
                following = next(left, None)
            if ahead and gathered < least and (not batch or of_batch + ahead[0][1] <= most_cost / 2):
                future, its_cost = ahead.popleft()
                batch.append(future.result())
                of_batch += its_cost
                gathered += size(batch[-1])
            else:
                yield batch
                batch.clear()
                in_flight -= of_batch
                of_batch = gathered = 0
    finally:
        pool.shutdown(cancel_futures=True)
