# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Whether torch.compile pays: a training step with it and without, and what its start takes.

    python -m benchmarks.compiled [--recipe half] [--rounds 5] [--json FILE]

Float32 on the CPU, one thread, recipes of benchmarks/layout.py. Both forms alternate, timed by the process's CPU time.
The compiled form is contiguous, without inductor's own change of layouts: torch 2.13 refuses what it compiles for
replication padding in channels_last.
`first call s`: the first step, which compiles, with an empty cache; `from the cache s`: in a new process with the cache
of the one before. `pays after steps`: first call from the cache / what a step gains.
"""
import multiprocessing
import os
import statistics
import tempfile
import time

import torch

from benchmarks.layout import RECIPES
from benchmarks.measuring import alternate, machine, median_ratio, show
from benchmarks.train_step import bare_step, fixed_batch
from options.train_options import parse_train
from utils.device import memory_format
from utils.errors import run_main
from utils.option_types import at_least, file_path, tool_parser

CPU = torch.device("cpu")


def step_of(options, layout, compiled):
    """Returns a function that takes one training step."""
    batch, step = fixed_batch(options, CPU, layout), bare_step(
        options, CPU, "O0", None, layout=layout, compiled=compiled)
    return lambda: step(batch)


def measure(name, rounds):
    """Returns (seconds of the first compiled step, {form: seconds of each round}) in this process."""
    torch.set_num_threads(1)
    options = parse_train([*RECIPES[name]])
    eager, compiled = step_of(options, memory_format(CPU), False), step_of(options, torch.contiguous_format, True)
    eager()
    start = time.perf_counter()
    compiled()
    first = time.perf_counter() - start
    jobs = {"eager": eager, "compiled": compiled}
    alternate(jobs, 1, CPU)  # warm up; the optimizer's state exists from now on
    return first, alternate(jobs, rounds, CPU, time.process_time)


def in_new_process(name, rounds):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (name, rounds))


def main():
    parser = tool_parser(__doc__)
    parser.add_argument("--recipe", nargs="+", choices=RECIPES, default=["half"],
                        help="recipes to measure (default: half)")
    parser.add_argument("--rounds", type=at_least(1), default=5, help="alternating rounds (default: 5)")
    parser.add_argument("--json", type=file_path, default=None, help="JSON file to write (default: none)")
    a = parser.parse_args()
    rows = []
    for name in a.recipe:
        with tempfile.TemporaryDirectory() as folder:
            # torch._inductor reads both.
            os.environ |= {"TORCHINDUCTOR_CACHE_DIR": folder, "TORCHINDUCTOR_LAYOUT_OPTIMIZATION": "0"}
            cold, _ = in_new_process(name, 1)
            warm, seconds = in_new_process(name, a.rounds)
        eager, compiled = (statistics.median(seconds[form]) for form in ("eager", "compiled"))
        rows.append({"recipe": name, "eager s/step": eager, "compiled s/step": compiled,
                     "compiled faster": median_ratio(seconds["eager"], seconds["compiled"]), "first call s": cold,
                     "from the cache s": warm,
                     "pays after steps": round(warm / (eager - compiled)) if compiled < eager else "never"})
    show(f"torch.compile in training, on {machine(CPU)}", rows, a.json)


if __name__ == "__main__":
    run_main(main)
