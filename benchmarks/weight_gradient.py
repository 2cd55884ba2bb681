# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The gradient of a 3x3 convolution's weights: torch's in both layouts, and models/convolution.py's.

    python -m benchmarks.weight_gradient [--rounds 9] [--json FILE]

Float32 on the CPU, one thread, by the process's CPU time; the forms alternate. Columns in ms: the forward pass and the
gradient of the input in channels_last, then the gradient of the weights. `own rate`: of the last column, as a share of
the rate of a 1024 x 1024 matrix product. `own faster`: torch's in channels_last / own.
"""
import statistics
import time

import torch
from torch.nn import functional as F

from benchmarks.measuring import alternate, machine, median_ratio, show
from models.convolution import weight_gradient
from utils.errors import run_main
from utils.option_types import at_least, file_path, tool_parser

CPU = torch.device("cpu")
MATRIX = 1024
# (faces, channels in, channels out, side of the output, stride) of layers of SPARNetHD 256 and FSRNet
LAYERS = [(2, 16, 16, 256, 1), (2, 16, 32, 128, 2), (2, 32, 32, 128, 1), (2, 64, 64, 64, 1), (2, 128, 128, 32, 1),
          (4, 64, 64, 128, 1), (4, 64, 64, 64, 1), (4, 64, 3, 128, 1)]


def jobs(count, c_in, c_out, side, stride):
    """Returns {column: function that computes it}."""
    weight = torch.randn(c_out, c_in, 3, 3)
    x = torch.randn(count, c_in, side * stride + 2, side * stride + 2).contiguous(memory_format=torch.channels_last)
    gradient = torch.randn_like(F.conv2d(x, weight, stride=stride))

    def torchs(x, gradient, *wanted):
        return torch.ops.aten.convolution_backward(
            gradient, x, weight, None, (stride, stride), (0, 0), (1, 1), False, (0, 0), 1, wanted)
    plain = x.contiguous(), gradient.contiguous()
    return {"forward": lambda: F.conv2d(x, weight, stride=stride),
            "of the input": lambda: torchs(x, gradient, True, False, False),
            "contiguous": lambda: torchs(*plain, False, True, False),
            "channels_last": lambda: torchs(x, gradient, False, True, False),
            "own": lambda: weight_gradient(x, gradient, 3, stride, 0)}


def main():
    parser = tool_parser(__doc__)
    parser.add_argument("--rounds", type=at_least(1), default=9, help="alternating rounds (default: 9)")
    parser.add_argument("--json", type=file_path, default=None, help="JSON file to write (default: none)")
    a = parser.parse_args()
    torch.set_num_threads(1)
    square = torch.randn(2, MATRIX, MATRIX)
    rows = []
    for layer in LAYERS:
        count, c_in, c_out, side, _ = layer
        forms = {"matrix": lambda: square[0] @ square[1], **jobs(*layer)}
        alternate(forms, 1, CPU)  # warm up
        seconds = alternate(forms, a.rounds, CPU, time.process_time)
        work = 2 * 9 * count * c_in * c_out * side ** 2
        rate = median_ratio(seconds["matrix"], seconds["own"]) * work / (2 * MATRIX ** 3)
        rows.append({"faces x channels x side": f"{count}x{c_in}->{c_out}x{side}",
                     **{f"{name} ms": statistics.median(seconds[name]) * 1e3 for name in forms if name != "matrix"},
                     "own rate": f"{100 * rate:.0f} %",
                     "own faster": median_ratio(seconds["channels_last"], seconds["own"])})
    show(f"Gradient of a 3x3 convolution's weights on {machine(CPU)}", rows, a.json)


if __name__ == "__main__":
    run_main(main)
