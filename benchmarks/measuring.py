# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Functions that the benchmarks share: alternating rounds, medians, machine description, table and JSON output."""
import shlex
import statistics
import sys
import time
from pathlib import Path

import torch

import utils.device
from utils import strict_json
from utils.files import write_file
from utils.processor import processor
from utils.version import commit

ROOT = Path(__file__).parents[1]


def alternate(jobs, rounds, device, clock=time.perf_counter):
    """Returns {name: [seconds of each round, by `clock`]} of {name: function}.

    The functions run in turn; the device is synchronised before and after each.
    """
    seconds = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            utils.device.synchronize(device)
            start = clock()
            job()
            utils.device.synchronize(device)
            seconds[name].append(clock() - start)
    return seconds


def quiet_clock(device):
    """Returns the process's CPU time for one thread of a CPU, which other programs disturb less; else the clock."""
    return time.process_time if device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter


def median_ratio(slow, fast):
    """Returns the median over rounds of slow / fast; the ratio varies less than the times on a noisy machine."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


def machine(device):
    """Returns one line: processor, its abilities and threads, or accelerator; torch's version."""
    return f"{utils.device.machine(device)}, torch {torch.__version__}"


def show(title, rows, path=None):
    """Prints dicts as a table and as JSON with command, commit and date; writes the JSON to `path` if given."""
    columns = list(rows[0])
    cells = [[f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()] for row in rows]
    widths = [max(len(c), *(len(line[i]) for line in cells)) for i, c in enumerate(columns)]
    print(f"\n{title}")
    for line in [columns, *cells]:
        print("  " + "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))
    program = f"benchmarks.{Path(sys.argv[0]).stem}"
    record = {"title": title, "command": shlex.join(["python", "-m", program, *sys.argv[1:]]), "commit": commit(),
              "date": time.strftime("%Y-%m-%d"), "processor": str(processor()), "rows": rows}
    print(strict_json.dumps(record))
    if path:
        write_file(path, strict_json.dumps(record, indent=1) + "\n")
