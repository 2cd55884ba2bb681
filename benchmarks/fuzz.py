# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Gives mutated images, names, presets, arguments, checkpoints and weights to the programs.

    python -m benchmarks.fuzz [--kind images names ...] [--count 20000] [--minutes M] [--json FILE]
    python -m benchmarks.fuzz --kind presets --only 1234          repeats one mutant

Each mutant must be served, or refused in words with the exit status that says so: no traceback, no hang, no crash, no
result that is silently wrong. The mutants of a kind follow from the seed and their number. Exit status 1 if one failed.
"""
import collections
import math
import multiprocessing
import os
import random
import signal
import tempfile
import time
import traceback
from multiprocessing.connection import wait

import torch

from benchmarks.fuzzing.kinds import KINDS
from benchmarks.measuring import show
from utils.errors import run_main
from utils.option_types import at_least, file_path, tool_parser

CHUNK = 400  # mutants per forked process: what a mutant leaves behind in memory ends with the process
HUNG = 120  # seconds for one run of a kind, also on a busy machine
FORK = multiprocessing.get_context("fork")  # a fork has loaded torch already


class Worker:
    """A forked process that tries some mutants of a kind. `numbers`: those that it has not begun."""

    def __init__(self, kind, seed, numbers):
        self.numbers, self.trying, self.since = collections.deque(numbers), None, time.monotonic()
        self.reports, child = FORK.Pipe(duplex=False)
        self.process = FORK.Process(target=_try_all, args=(kind, seed, list(numbers), child))
        self.process.start()
        child.close()

    def hear(self):
        """Reads one report. Returns (number, served mutants, fault or None), or None when a mutant begins.

        Raises EOFError at the end of the process.
        """
        word, value = self.reports.recv()
        self.since = time.monotonic()
        if word == "begins":
            self.trying = self.numbers.popleft()
            return None
        number, self.trying = self.trying, None
        return (number, value, None) if word == "served" else (number, 0, value)

    def hangs(self):
        return self.trying is not None and time.monotonic() - self.since > HUNG

    def kill(self):
        """Kills the process and the workers that it may have started."""
        os.killpg(self.process.pid, signal.SIGKILL)


def _try_all(kind, seed, numbers, reports):
    os.setsid()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="fuzz") as folder:
        fuzzed = KINDS[kind](folder)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):  # libraries in C print warnings on corrupted images
            os.dup2(nowhere, stream)
        for number in numbers:
            reports.send(("begins", number))
            try:
                reports.send(("served", fuzzed.run(random.Random(f"{kind} {seed} {number}"))))
            except BaseException:
                reports.send(("fault", traceback.format_exc()))


def fuzz(kind, numbers, seed, processes=1, minutes=math.inf):
    """Tries the mutants with these numbers (of batches, where the kind has batches), or as many as it begins in time.

    Returns ({"kind", "mutants", "served", "faults", "seconds"}, [(number, what went wrong)]).
    """
    batch = KINDS[kind].batch
    chunk = max(1, CHUNK // batch)
    chunks = [numbers[at:at + chunk] for at in range(0, len(numbers), chunk)]
    workers, faults, tried, served, began = [], [], 0, 0, time.monotonic()
    while chunks or workers:
        if time.monotonic() - began > 60 * minutes:
            chunks = []
        while chunks and len(workers) < processes:
            workers.append(Worker(kind, seed, chunks.pop(0)))
        for reports in wait([worker.reports for worker in workers], timeout=1):
            worker = next(w for w in workers if w.reports is reports)
            try:
                heard = worker.hear()
            except EOFError:
                worker.process.join()
                workers.remove(worker)
                if worker.trying is not None or worker.numbers:
                    tried += worker.trying is not None
                    faults.append((worker.trying, f"the process ended with {worker.process.exitcode}"))
                if worker.trying is not None and worker.numbers:
                    chunks.append(list(worker.numbers))
                continue
            if heard:
                number, of_run, fault = heard
                tried, served = tried + 1, served + of_run
                if fault:
                    faults.append((number, fault))
        for worker in workers:
            if worker.hangs():
                worker.kill()
    row = {"kind": kind, "mutants": tried * batch, "served": served, "faults": len(faults),
           "seconds": time.monotonic() - began}
    return row, faults


def main():
    parser = tool_parser(__doc__)
    parser.add_argument("--kind", nargs="+", choices=list(KINDS), default=list(KINDS), help="default: all")
    parser.add_argument("--count", type=at_least(1), default=20000, help="mutants of each kind (default: 20000)")
    parser.add_argument("--seed", type=at_least(0), default=0, help="seed of the mutants (default: 0)")
    parser.add_argument("--only", type=at_least(0), default=None, help="number of a mutant to repeat (default: all)")
    parser.add_argument("--minutes", type=at_least(0.1, float), default=math.inf,
                        help="minutes after which no more of a kind are begun (default: no limit)")
    parser.add_argument("--processes", type=at_least(1), default=2, help="number of processes (default: 2)")
    parser.add_argument("--json", type=file_path, default=None, help="JSON file to write (default: none)")
    a = parser.parse_args()
    # Imports what is loaded late before the forks, so that none of them has to.
    torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], fused=True)
    rows, failed = [], False
    for kind in a.kind:
        numbers = [a.only] if a.only is not None else list(range(-(-a.count // KINDS[kind].batch)))
        row, faults = fuzz(kind, numbers, a.seed, a.processes, a.minutes)
        for number, fault in faults:
            print(f"--- {kind} {number}\n{fault}")
        rows.append(row)
        failed |= bool(faults)
        print(row, flush=True)
    show("Mutants", rows, a.json)
    return int(failed)


if __name__ == "__main__":
    run_main(main)
