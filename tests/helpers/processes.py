# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Time limit of processes that tests start, and waiting for a condition."""
import time

HUNG = 900  # seconds. This limit only ends a test whose process is stuck; no test measures speed with it.


def wait_until(condition, process):
    """Returns once `condition()` is true; fails if the process ends earlier or hangs."""
    deadline = time.monotonic() + HUNG
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
