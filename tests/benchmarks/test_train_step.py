# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""benchmarks/train_step.py at toy size: every round measures every loop once."""
import pytest

from benchmarks import train_step
from data.drawn.builtin_faces import write_faces


def test_a_row(tmp_path, monkeypatch, one_thread):
    monkeypatch.setattr(train_step, "write_faces", lambda folder, count, first_seed: write_faces(folder, 4, first_seed))
    counted = {}
    monkeypatch.setattr(train_step, "median_ratio",
                        lambda above, below: counted.update(above=len(above), below=len(below)) or 1.0)
    row = train_step.measure("sparnet_builtin", 2, "O0", "cpu", 1, 3, 0, tmp_path, [
        "--load_size=64", "--min_ch=4", "--max_ch=4", "--hourglass_ch=4", "--bottleneck_size=16"])
    assert counted == {"above": 3, "below": 3}
    assert row["precision"] == "O0" and row["loading adds"] == row["trainer adds"] == "0.0 %"
    assert all(row[f"{name} s/step"] > 0 for name in ("trainer", "fed", "bare", "plain"))
    assert row["trainer images/s"] == pytest.approx(2 / row["trainer s/step"])
