# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Measures instance norm, forward and backward: torch's against this project's, on channels_last tensors.

    python -m benchmarks.instance_norm --json benchmarks/results/instance_norm_cpu.json
"""
import statistics

import torch
from torch import nn

import utils.device
from benchmarks.measuring import alternate, machine, median_ratio, show
from models.blocks import InstanceNorm
from utils.errors import run_main
from utils.option_types import at_least, tool_parser

SHAPES = ((2, 96, 256), (2, 192, 128), (2, 512, 64), (8, 16, 256), (8, 64, 64))  # batch, channels, side


def measure(norm, shape, device, half, repeats):
    """Returns a function that runs `norm` forward and backward `repeats` times."""
    batch, channels, side = shape
    norm = norm.to(device, half)
    features, gradient = (torch.randn(batch, channels, side, side, device=device).to(half).contiguous(
        memory_format=torch.channels_last) for _ in range(2))
    features.requires_grad_()

    def run():
        for _ in range(repeats):
            norm(features).backward(gradient)
    return run


def main():
    parser = tool_parser(__doc__)
    parser.add_argument("--device", default="auto", help="device: auto, npu, cuda or cpu (default: auto)")
    parser.add_argument("--rounds", type=at_least(1, largest=1_000_000), default=9,
                        help="number of alternating rounds (default: 9)")
    parser.add_argument("--repeats", type=at_least(1, largest=1_000_000), default=5,
                        help="forward and backward passes per round (default: 5)")
    parser.add_argument("--json", default=None, help="JSON file to write (default: none)")
    a = parser.parse_args()
    device = utils.device.pick_device(a.device)
    rows = []
    for dtype in (torch.float32, utils.device.default_half(device)):
        for shape in SHAPES:
            channels = shape[1]
            seconds = alternate({
                "torch": measure(nn.InstanceNorm2d(channels, affine=True), shape, device, dtype, a.repeats),
                "own": measure(InstanceNorm(channels), shape, device, dtype, a.repeats)}, a.rounds, device)
            rows.append({"batch x channels x side": "x".join(map(str, shape)),
                         "type": str(dtype).removeprefix("torch."),
                         **{f"{name} ms": statistics.median(s) / a.repeats * 1e3 for name, s in seconds.items()},
                         "faster": median_ratio(seconds["torch"], seconds["own"])})
    show(f"Instance norm, forward and backward, channels_last, on {machine(device)}; medians of {a.rounds} alternating "
         f"rounds", rows, a.json)


if __name__ == "__main__":
    run_main(main)
