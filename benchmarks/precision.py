# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Time of a training step in O0, O1 and O2, in turn: what mixed precision costs or gains on this processor.

A CPU with one thread (OMP_NUM_THREADS=1) is timed by its process time, which other programs do not disturb.

    python -m benchmarks.precision [--preset sparnet_half_width sparnet_light_attn3d] [--batch_size 2] [--json FILE]
"""
import statistics

import utils.device
from benchmarks.measuring import alternate, machine, median_ratio, quiet_clock, show
from benchmarks.train_step import bare_step, fixed_batch
from options.train_options import parse_train
from utils.errors import run_main
from utils.option_types import BATCH, at_least, tool_parser

LEVELS = ("O0", "O1", "O2")


def measure(preset, batch_size, device, rounds):
    """Returns one row: seconds per step in each of LEVELS, and their ratios to O0."""
    options = parse_train(["--preset", preset, f"--batch_size={batch_size}"])
    batch = fixed_batch(options, device, utils.device.memory_format(device))

    def job(level):
        step = bare_step(options, device, level, utils.device.default_half(device))
        return lambda: step(batch)

    jobs = {level: job(level) for level in LEVELS}
    alternate(jobs, 1, device)  # warm up
    seconds = alternate(jobs, rounds, device, quiet_clock(device))
    return {"preset": preset, "batch": batch_size, **{level: statistics.median(seconds[level]) for level in LEVELS},
            **{f"{level} / O0": median_ratio(seconds[level], seconds["O0"]) for level in LEVELS[1:]},
            "machine": machine(device)}


def main():
    parser = tool_parser(__doc__)
    parser.add_argument("--preset", nargs="+", default=["sparnet_half_width", "sparnet_light_attn3d"],
                        help="presets of options/presets, without losses that need weights")
    parser.add_argument("--batch_size", type=at_least(1, largest=BATCH), default=2, help="faces per step")
    parser.add_argument("--rounds", type=at_least(1, largest=1000), default=5, help="steps in each precision")
    parser.add_argument("--device", default="auto", help="device to compute on")
    parser.add_argument("--json", default=None, help="file for the rows; default: they are printed only")
    a = parser.parse_args()
    device = utils.device.pick_device(a.device)
    utils.device.set_up(device)
    show("training step by precision, seconds", [measure(preset, a.batch_size, device, a.rounds)
                                                 for preset in a.preset], a.json)


if __name__ == "__main__":
    run_main(main)
