# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""What --skips costs: a training step and a restored batch of face128's network, with and without them, in turn.

A CPU with one thread (OMP_NUM_THREADS=1) is timed by its process time, which other programs do not disturb.

    python -m benchmarks.skips [--batch_size 8] [--opt_level O0 O2] [--json FILE]
"""
import functools
import statistics

import torch

import utils.device
from benchmarks.measuring import alternate, machine, median_ratio, quiet_clock, show
from benchmarks.train_step import bare_step, fixed_batch
from models import build_recipe
from options.train_options import parse_train
from utils.errors import run_main
from utils.option_types import BATCH, at_least, tool_parser

WORDS = {"with": "true", "without": "false"}


def options_of(skips, batch_size):
    return parse_train(["--preset", "face128", "--skips", WORDS[skips], f"--batch_size={batch_size}"])


def training(skips, batch_size, device, level):
    """Returns a function that trains one step in precision `level`."""
    options = options_of(skips, batch_size)
    batch = fixed_batch(options, device, utils.device.memory_format(device))
    step = bare_step(options, device, level, utils.device.default_half(device))
    return lambda: step(batch)


def restoring(skips, batch_size, device):
    """Returns a function that restores one batch in float32."""
    options = options_of(skips, batch_size)
    layout = utils.device.memory_format(device)
    faces = fixed_batch(options, device, layout)["lr"]
    net = build_recipe(options).networks["G"].to(device, memory_format=layout).eval()

    def restore():
        with torch.no_grad():
            net(faces)
    return restore


def measure(purpose, make, batch_size, device, rounds):
    """Returns one row: seconds with and without skips, and their ratio; make(skips, batch_size, device): the job."""
    jobs = {skips: make(skips, batch_size, device) for skips in WORDS}
    alternate(jobs, 1, device)  # warm up
    seconds = alternate(jobs, rounds, device, quiet_clock(device))
    times = {f"{skips} s": statistics.median(seconds[skips]) for skips in WORDS}
    return {"purpose": purpose, "batch": batch_size, **times,
            "with / without": median_ratio(seconds["with"], seconds["without"]), "machine": machine(device)}


def main():
    parser = tool_parser(__doc__)
    parser.add_argument("--batch_size", type=at_least(1, largest=BATCH), default=8, help="faces per step")
    parser.add_argument("--opt_level", nargs="+", choices=["O0", "O1", "O2"], default=["O0", "O2"],
                        help="precisions of the training step")
    parser.add_argument("--rounds", type=at_least(1, largest=1000), default=5, help="rounds")
    parser.add_argument("--device", default="auto", help="device to compute on")
    parser.add_argument("--json", default=None, help="file for the rows; default: they are printed only")
    a = parser.parse_args()
    device = utils.device.pick_device(a.device)
    utils.device.set_up(device)
    purposes = {f"training {level}": functools.partial(training, level=level) for level in a.opt_level}
    rows = [measure(purpose, make, a.batch_size, device, a.rounds)
            for purpose, make in (purposes | {"restoring": restoring}).items()]
    show("face128 with and without skips, seconds", rows, a.json)


if __name__ == "__main__":
    run_main(main)
