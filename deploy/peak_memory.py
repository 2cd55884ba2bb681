# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Prints the peak memory in MB of a process that restores two batches with one file.

    python -m deploy.peak_memory FILE onnx|openvino|torch BATCH SIZE

deploy/evaluation.py starts it. Only the runtime that is measured is imported.
"""
from pathlib import Path

import numpy as np

from utils.errors import run_main
from utils.option_types import BATCH, SIZE, at_least, file_path, tool_parser


def main():
    parser = tool_parser(__doc__)
    parser.add_argument("file", type=file_path, help="weights or an .onnx file")
    parser.add_argument("runtime", choices=["onnx", "openvino", "torch"], help="what restores with it")
    parser.add_argument("batch", type=at_least(1, largest=BATCH), help="faces at once")
    parser.add_argument("size", type=at_least(1, largest=SIZE), help="side of the faces in pixels")
    a = parser.parse_args()
    print(peak_memory(a.file, a.runtime, a.batch, a.size))


def peak_memory(path, runtime, batch, size):
    """Returns the largest resident memory of this process so far, in MB, after two batches."""
    if runtime == "torch":
        import torch

        from restore.restorer import Restorer
        torch.set_num_threads(1)
        restorer, inputs = Restorer.load(Path(path), "cpu"), torch.zeros(batch, size, size, 3, dtype=torch.uint8)

        def restore():
            restorer.restore_batch(inputs)
    else:
        from utils.onnx_file import OnnxNetwork
        network, faces = OnnxNetwork(path, runtime, threads=1), np.zeros((batch, 3, size, size), np.float32)

        def restore():
            network(faces)
    for _ in range(2):
        restore()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


if __name__ == "__main__":
    run_main(main)
