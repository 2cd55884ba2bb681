"""What OpenMP's waiting costs on a CPU: one training alone, and two at a time, for settings of the environment.

    python -m benchmarks.openmp_waiting [--json FILE]

utils/__init__.py takes the setting that is best in both. Each run is newtrain.py with the preset sparnet_builtin.
"""
import argparse
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

SETTINGS = {  # an empty variable counts as none, and keeps utils/__init__.py from setting it
    "GNU's default": {"OMP_WAIT_POLICY": "", "GOMP_SPINCOUNT": "300000"},
    "GOMP_SPINCOUNT=1000": {"OMP_WAIT_POLICY": "", "GOMP_SPINCOUNT": "1000"},
    "OMP_WAIT_POLICY=PASSIVE": {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": ""},
}
ROUNDS = 2
PATIENCE = 60  # seconds; a run that takes longer is stopped


def train(folder, name, setting):
    """A process that trains for 40 steps."""
    return subprocess.Popen(
        [sys.executable, "newtrain.py", "--preset", "sparnet_builtin", "--batch_size", "16", "--workers", "1",
         "--dataroot", f"{folder}/faces/images", "--checkpoints_dir", folder, "--name", name, "--train_steps", "40",
         "--device", "cpu"],
        stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1], env=os.environ | setting)


def speed(process):
    """Images a second as the run printed it, or None for one that was stopped."""
    try:
        out, _ = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return None
    return float(re.search(r"^Performance: ([\d.]+)", out, re.M).group(1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", default=None)
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
    show(f"Waiting of OpenMP's threads on {machine(torch.device('cpu'))}", rows, a.json)


if __name__ == "__main__":
    main()
