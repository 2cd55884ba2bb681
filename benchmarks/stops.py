# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Stops a tiny training in order, again and again, restarts it each time, and compares it with an undisturbed one.

    python -m benchmarks.stops [--stops 20] [--ranks 1 2] [--json FILE]

The stops come in turn: SIGTERM during a save, SIGTERM during a validation, SIGINT and SIGHUP after a random time,
and, with several ranks, SIGSTOP: one rank is stalled, and killed when the others have given it up. After a signal,
all ranks must end with the signal's exit status; after a stall, the others with a failure. Reports how often that
failed, the longest time until the ranks ended, and whether the final weights, optimizer states and random numbers
equal those of the undisturbed run bit for bit. The last row stops a training of two ranks, goes on with one and ends
with two: it must get to the end. Runs on a CPU.
"""
import os
import random
import signal
import time
from pathlib import Path

from benchmarks.measuring import show
from benchmarks.survival import (
    LONGEST_WAIT,
    newest_state,
    run_all,
    same_training,
    start,
    undisturbed,
    wait,
    wait_for_end,
)
from engine import checkpoint
from utils.errors import run_main
from utils.option_types import at_least, tool_parser

STOPS = (("SIGTERM", "save"), ("SIGTERM", "validation"), ("SIGINT", None), ("SIGHUP", None), ("SIGSTOP", None))
LONGEST_DELAY = 1.5  # seconds from a start to a stop, at most
PATIENCE = 8  # seconds that a rank waits for a stalled one (--dist_timeout)


def stop(pids, run, name, moment, last_step):
    """Sends the signal `name` to all ranks at a random time or in the next `moment`; SIGSTOP: to one rank.

    Returns (seconds until the ranks ended, whether all ended as they should).
    """
    time.sleep(random.uniform(0.05, LONGEST_DELAY))
    sign = {"save": ".*.tmp", "validation": "validating"}.get(moment)
    patience = time.monotonic() + 20
    while sign and not any(run.glob(sign)) and time.monotonic() < patience:
        time.sleep(0.0003)
    number = getattr(signal, name)
    complete = checkpoint.state_path(run, last_step).exists()
    began = time.monotonic()
    if number == signal.SIGSTOP:
        stalled = random.choice(pids)
        os.kill(stalled, number)
        others = wait([pid for pid in pids if pid != stalled], LONGEST_WAIT)
        seconds = time.monotonic() - began
        os.kill(stalled, signal.SIGKILL)
        wait([stalled])
        return seconds, complete or 0 not in others.values()
    for pid in pids:
        os.kill(pid, number)
    ended = set(wait(pids, LONGEST_WAIT).values())
    # A training that had saved its last step before the signal may return 0.
    return time.monotonic() - began, ended == {128 + number} or complete and ended == {0}


def stop_often(folder, faces, ranks, steps, stops, seed=0):
    """Stops a training of `steps` steps `stops` times and returns the table's row."""
    random.seed(seed)
    whole, disturbed = Path(folder) / "whole", Path(folder) / "disturbed"
    alone = undisturbed(whole, faces, ranks, steps)
    disturbed.mkdir()
    ways = [way for way in STOPS if ranks > 1 or way[0] != "SIGSTOP"]
    longest, disorderly = {}, 0
    for done in range(stops):
        name, moment = ways[done % len(ways)]
        pids = start(disturbed, faces, ranks, steps, PATIENCE)
        seconds, in_order = stop(pids, disturbed / "run", name, moment, steps)
        kind = "stalled rank" if name == "SIGSTOP" else "signal"
        longest[kind] = max(longest.get(kind, 0), seconds)
        disorderly += not in_order
    step = checkpoint.list_states(disturbed / "run")
    wait_for_end(start(disturbed, faces, ranks, steps), disturbed)
    return {"ranks": str(ranks), "steps": steps, "stops": stops, "not in order": disorderly,
            "last stop at or after step": int(step[-1].stem.split("_")[1]) if step else 0,
            "longest wait after a signal s": longest["signal"],
            "after a stalled rank s": longest.get("stalled rank", ""),
            "bit-equal": same_training(whole, disturbed), "undisturbed s": alone}


def change_ranks(folder, faces, steps):
    """Stops a training of two ranks after a third of its time, one of one rank, and ends it with two."""
    folder.mkdir()
    row = {"ranks": "2, 1, 2", "steps": steps, "stops": 2, "not in order": 0}
    for ranks in (2, 1):
        pids = start(folder, faces, ranks, steps)
        patience = time.monotonic() + 60
        before = len(list((folder / "run").glob("state_*")))
        while len(list((folder / "run").glob("state_*"))) < before + 1 and time.monotonic() < patience:
            time.sleep(0.05)
        row["not in order"] += not stop(pids, folder / "run", "SIGTERM", None, steps)[1]
    row["last stop at or after step"] = newest_state(folder)["progress"]["step"]
    wait_for_end(start(folder, faces, 2, steps), folder)
    return row | {"longest wait after a signal s": "", "after a stalled rank s": "", "bit-equal": "not promised",
                  "undisturbed s": ""}


def main():
    parser = tool_parser(__doc__)
    parser.add_argument("--stops", type=at_least(1), default=20, help="number of stops per training (default: 20)")
    options, rows = run_all(parser, 2000, lambda o, folder, faces: [
        *(stop_often(folder / str(ranks), faces, ranks, o.steps, o.stops) for ranks in o.ranks),
        change_ranks(folder / "changed", faces, o.steps)])
    show(f"{options.stops} stops", rows, options.json)
    return int(any(row["not in order"] or row["bit-equal"] is False for row in rows))


if __name__ == "__main__":
    run_main(main)
