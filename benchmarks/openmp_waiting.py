# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Measures the cost of OpenMP's wait policies on a CPU: one training alone, and two at a time.

    python -m benchmarks.openmp_waiting [--json FILE]

utils/__init__.py sets GOMP_SPINCOUNT=1000, a compromise. Each run is newtrain.py with the preset sparnet_builtin.
"""
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.measuring import machine, show
from data.drawn.builtin_faces import write_faces
from utils.errors import run_main
from utils.option_types import tool_parser

SETTINGS = {
    "GNU's default": {"GOMP_SPINCOUNT": "300000"},
    "GOMP_SPINCOUNT=1000": {"GOMP_SPINCOUNT": "1000"},
    "OMP_WAIT_POLICY=PASSIVE": {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"},
}
ROUNDS = 2
PATIENCE = 180  # seconds; longer runs are stopped


def train(folder, name, setting):
    """Starts a process that trains for 40 steps and returns it."""
    environment = {name: value for name, value in os.environ.items()
                   if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")} | setting
    return subprocess.Popen(
        [sys.executable, "newtrain.py", "--preset", "sparnet_builtin", "--batch_size", "16", "--workers", "1",
         "--dataroot", f"{folder}/faces/images", "--checkpoints_dir", folder, "--name", name, "--train_steps", "40",
         "--device", "cpu"],
        stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1], env=environment)


def speed(process):
    """Returns the images per second that the run printed, or None if it was stopped."""
    try:
        out, _ = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return None
    return float(re.search(r"^Performance: ([\d.]+)", out, re.M).group(1))


def main():
    parser = tool_parser(__doc__)
    parser.add_argument("--json", default=None, help="JSON file to write (default: none)")
    a = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        write_faces(f"{folder}/faces", 200, first_seed=0)
        alone = {title: [] for title in SETTINGS}
        for i in range(ROUNDS):
            for title, setting in SETTINGS.items():
                alone[title].append(speed(train(folder, f"{title} {i}", setting)) or 0.0)
        for title, setting in SETTINGS.items():
            pair = [train(folder, f"{title} of two {i}", setting) for i in range(2)]
            both = [speed(p) for p in pair]
            rows.append({"setting": title, "alone, images/s (median)": statistics.median(alone[title]),
                         "two at a time, images/s each":
                         " and ".join(f"{s:.1f}" if s else f"stopped after {PATIENCE} s" for s in both)})
    show(f"OpenMP's wait policies on {machine(torch.device('cpu'))}", rows, a.json)


if __name__ == "__main__":
    run_main(main)
