# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Compares a training step with the device's peak rates, and profiles where its time is spent.

    python -m benchmarks.ceilings [--preset sparnet_celeba] [--batch_size 32] [--opt_level O2] [--json FILE]

Peak rates: a large matrix product in the step's precision, and a large copy (bytes read plus bytes written). torch
counts the step's floating-point operations (convolutions and matrix products). The profile sums the device time per
kind of operator, without the time of nested operators.
"""
import statistics
import time
from collections import Counter
from functools import partial

import torch
from torch.profiler import profile, supported_activities
from torch.utils.flop_counter import FlopCounterMode

import utils.device
from benchmarks.measuring import machine, show
from benchmarks.train_step import bare_step, fixed_batch
from options.train_options import parse_train
from utils.errors import run_main
from utils.option_types import BATCH, at_least, tool_parser

KINDS = {  # an operator belongs to the first kind with a substring of its name
    "convolution": ("conv", "addmm", "mm"), "normalisation": ("norm",), "optimizer": ("adam", "foreach"),
    "activation": ("relu", "sigmoid"), "padding, resizing": ("pad", "upsample", "interpolate"),
    "copies, casts, zeroing": ("copy", "fill", "zero", "cat")}


def seconds_of(job, device, repeats=10):
    """Returns the median seconds of `job()` after two warm-up calls; the device is synchronised around each call."""
    times = []
    for _ in range(repeats + 2):
        utils.device.synchronize(device)
        start = time.perf_counter()
        job()
        utils.device.synchronize(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:])


def matrix_rate(device, dtype, size):
    """Returns the TFLOP/s of a product of two random size x size matrices."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return 2 * size ** 3 / seconds_of(lambda: torch.mm(a, b), device) / 1e12


def bandwidth(device, megabytes):
    """Returns the GB/s of a copy within the device's memory: bytes read plus bytes written."""
    source = torch.randn(megabytes * 250_000, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / seconds_of(lambda: target.copy_(source), device) / 1e9


def kind_of(operator):
    return next((kind for kind, parts in KINDS.items() if any(part in operator for part in parts)), "other")


def time_by_kind(step, device, steps=3):
    """Returns {kind of operator: share of the device time}, without the time of nested operators."""
    with profile(activities=supported_activities()) as seen:
        for _ in range(steps):
            step()
        utils.device.synchronize(device)
    spent = Counter()
    for row in seen.key_averages():
        own = row.self_cpu_time_total if device.type == "cpu" else row.self_device_time_total
        spent[kind_of(row.key.lower())] += own
    return {kind: spent[kind] / spent.total() for kind in [*KINDS, "other"]}


def main():
    parser = tool_parser(__doc__)
    parser.add_argument("--preset", nargs="+", default=["sparnet_celeba", "sparnet_light_attn3d"],
                        help="presets to measure (default: sparnet_celeba sparnet_light_attn3d)")
    parser.add_argument("--batch_size", type=at_least(1, largest=BATCH), nargs="+", default=None,
                        help="faces per step, one or more values (default: 8 on a CPU, 32 and 256 elsewhere)")
    parser.add_argument("--opt_level", choices=["O0", "O1", "O2"], default="O2",
                        help="precision: O0, O1 or O2 (default: O2)")
    parser.add_argument("--device", default="auto", help="device: auto, npu, cuda or cpu (default: auto)")
    parser.add_argument("--json", default=None, help="JSON file to write; the profile goes to FILE_profile.json")
    a = parser.parse_args()
    device = utils.device.pick_device(a.device)
    on_cpu = device.type == "cpu"
    utils.device.set_up(device)
    half = utils.device.default_half(device) if a.opt_level != "O0" else torch.float32
    rate = matrix_rate(device, half, 2048 if on_cpu else 8192)
    memory = bandwidth(device, 200 if on_cpu else 4000)
    rows, profiles = [], []
    for preset in a.preset:
        for batch in a.batch_size or ([8] if on_cpu else [32, 256]):
            options = parse_train(["--preset", preset, f"--batch_size={batch}"])
            take_step = bare_step(options, device, a.opt_level, half)
            faces = fixed_batch(options, device, utils.device.memory_format(device))
            step = partial(take_step, faces)
            with FlopCounterMode(display=False) as counter:
                step()
            work = counter.get_total_flops()
            seconds = seconds_of(step, device)
            case = {"preset": preset, "batch": batch, "precision": a.opt_level}
            rows.append(case | {
                "s/step": seconds, "images/s": batch / seconds, "GFLOP/step": work / 1e9,
                "TFLOP/s": work / seconds / 1e12, "matrix TFLOP/s": rate,
                "share of it": f"{100 * work / seconds / 1e12 / rate:.0f} %", "copy GB/s": memory,
                "GB": utils.device.peak_memory_gb(device) or 0})
            profiles.append(case | {kind: f"{100 * share:.0f} %"
                                    for kind, share in time_by_kind(step, device).items()})
    show(f"Ceilings reached on {machine(device)}", rows, a.json)
    show("Where a step's time goes", profiles, a.json and a.json.replace(".json", "_profile.json"))


if __name__ == "__main__":
    run_main(main)
