# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Ends a run whose script or launcher was killed: SIGKILL leaves no time to pass anything on.

The scripts of test/ and utils/launch.py write their process ids into the environment variable STARTED_BY. Every process
of the run watches them, and under torchrun also its parent. Once one of them has ended, the process sends itself
SIGTERM, so that a training saves and stops; after GRACE seconds it kills itself. This needs Linux (/proc).
"""
import os
import signal
import sys
import threading
import time
from pathlib import Path

STARTED_BY = "STARTED_BY_PROCESSES"
INTERVAL = 0.5  # seconds between two looks
GRACE = 30.0  # seconds from SIGTERM to SIGKILL, as in torchrun


def birth(pid):
    """Returns when the process was started, in the kernel's clock ticks; None if it has ended (a zombie has)."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in (b"Z", b"X") else int(fields[18])


def end_with_starters():
    """Starts the thread that watches the processes which started this one; without such processes it does nothing."""
    pids = [int(pid) for pid in os.environ.get(STARTED_BY, "").split()]
    if "TORCHELASTIC_RUN_ID" in os.environ:
        pids.append(os.getppid())
    if pids and Path("/proc/self/stat").exists():
        threading.Thread(target=_watch, args=({pid: birth(pid) for pid in pids},), daemon=True).start()


def _watch(births):
    while not (gone := [pid for pid, born in births.items() if born is None or birth(pid) != born]):
        time.sleep(INTERVAL)
    print(f"error: process {gone[0]}, which started this run, has ended: stopping.", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os.kill(os.getpid(), signal.SIGKILL)
