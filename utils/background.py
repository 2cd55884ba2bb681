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
