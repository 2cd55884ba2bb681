# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Prints the peak memory in MB of a process that restores two batches with one file.

    python -m deploy.peak_memory FILE onnx|openvino|torch BATCH SIZE

deploy/evaluation.py starts it. Only the runtime that is measured is imported.
"""
import sys
from pathlib import Path

import numpy as np


def main(path, runtime, batch, size):
    faces = np.zeros((int(batch), 3, int(size), int(size)), np.float32)
    if runtime == "torch":
        import torch

        from restore.restorer import Restorer
        torch.set_num_threads(1)
        restorer, inputs = Restorer.load(Path(path), "cpu"), torch.zeros(*faces.transpose(0, 2, 3, 1).shape).byte()

        def restore():
            restorer.restore_batch(inputs)
    else:
        from utils.onnx_file import OnnxNetwork
        network = OnnxNetwork(path, runtime, threads=1)

        def restore():
            network(faces)
    for _ in range(2):
        restore()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    print(int(status["VmHWM"].split()[0]) / 1024)


if __name__ == "__main__":
    main(*sys.argv[1:])
