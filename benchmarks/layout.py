# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Measures memory layouts: every recipe, training and restoring, in both layouts against the plain form, alternating.

    python -m benchmarks.layout [--recipe fsrnet light ...] [--threads 1] [--json FILE]

Float32 (O0) on the CPU. `plain`: benchmarks/plain_forms.py, contiguous, with torch's own Adam. A ratio is the median
over rounds of plain time / time. `chosen` is the layout that utils/device.py chooses here. One thread is timed by the
process's CPU time, which other programs disturb less; more threads by the clock.

A lesser processor is imitated by ATEN_CPU_CAPABILITY (torch's own kernels: default, avx2, avx512) together with
ONEDNN_MAX_CPU_ISA (convolutions: SSE41, AVX2, AVX512_CORE).
"""
import itertools
import statistics
import sys

import torch

import utils.device
from benchmarks.measuring import alternate, machine, median_ratio, quiet_clock, show
from benchmarks.plain_forms import plain_form
from benchmarks.train_step import bare_step, fixed_batch, plain_loop
from models import build_recipe
from options.train_options import parse_train
from utils.errors import run_main
from utils.option_types import BATCH, at_least, tool_parser

RECIPES = {  # name: newtrain.py's words
    "v16": ("--preset=sparnet_celeba", "--batch_size=2"),
    "light": ("--preset=sparnet_light_attn3d", "--batch_size=8"),
    "half": ("--preset=sparnet_half_width", "--batch_size=8"),
    "sparnethd_256": ("--preset=sparnethd_256_small", "--batch_size=2"),
    "fsrnet": ("--preset=fsrnet_celebamask", "--batch_size=4", "--optimizer=adam"),
    "gpen_256": ("--preset=gpen_256_narrow", "--batch_size=2", "--lambda_id=0", "--lambda_r1=0", "--lambda_path=0"),
}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def training_jobs(options, device):
    """Returns {form: function that takes one training step}."""
    def job(layout):
        step, batch = bare_step(options, device, "O0", None, layout=layout), fixed_batch(options, device, layout)
        return lambda: step(batch)
    return {"plain": plain_loop(options, device, 1), **{name: job(layout) for name, layout in LAYOUTS.items()}}


def restoring_jobs(options, device):
    """Returns {form: function that restores one batch}."""
    def job(form, layout):
        net = build_recipe(options).networks["G"].to(device, memory_format=layout).eval()
        net, faces = form(net), fixed_batch(options, device, layout)["lr"]

        def run():
            with torch.no_grad():
                net(faces)
        return run
    return {"plain": job(plain_form, torch.contiguous_format),
            **{name: job(lambda net: net, layout) for name, layout in LAYOUTS.items()}}


PURPOSES = {"training": training_jobs, "restoring": restoring_jobs}


def measure(name, purpose, rounds, batch_size=None):
    """Returns one row of the table; batch_size: None for the recipe's."""
    device = torch.device("cpu")
    options = parse_train([*RECIPES[name], *([f"--batch_size={batch_size}"] if batch_size else [])])
    jobs = PURPOSES[purpose](options, device)
    alternate(jobs, 1, device)  # warm up
    seconds = alternate(jobs, rounds, device, quiet_clock(device))
    chosen = utils.device.memory_format(device)
    return {"recipe": name, "purpose": purpose, "batch": options.batch_size,
            **{f"{form} s": statistics.median(values) for form, values in seconds.items()},
            **{f"{form} faster": median_ratio(seconds["plain"], seconds[form]) for form in LAYOUTS},
            "chosen": next(form for form, layout in LAYOUTS.items() if layout == chosen)}


def main():
    parser = tool_parser(__doc__)
    parser.add_argument("--recipe", nargs="+", choices=RECIPES, default=list(RECIPES),
                        help="recipes to measure (default: all)")
    parser.add_argument("--purpose", nargs="+", choices=PURPOSES, default=list(PURPOSES),
                        help="what to measure (default: training restoring)")
    parser.add_argument("--batch_size", type=at_least(1, largest=BATCH), default=None,
                        help="faces per step (default: 2 to 8, by recipe)")
    parser.add_argument("--threads", type=at_least(1, largest=1024), default=1, help="torch's threads (default: 1)")
    parser.add_argument("--rounds", type=at_least(1, largest=1_000_000), default=7,
                        help="number of alternating rounds (default: 7)")
    parser.add_argument("--json", default=None, help="JSON file to write (default: none)")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    rows = []
    for name, purpose in itertools.product(a.recipe, a.purpose):
        rows.append(measure(name, purpose, a.rounds, a.batch_size))
        print(rows[-1], file=sys.stderr, flush=True)  # the whole table takes minutes
    show(f"Memory layouts on {machine(torch.device('cpu'))}, {torch.backends.cpu.get_cpu_capability()}; medians of "
         f"{a.rounds} alternating rounds", rows, a.json)


if __name__ == "__main__":
    run_main(main)
