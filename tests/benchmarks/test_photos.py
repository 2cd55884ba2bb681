# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""benchmarks/photos.py at toy size, with a toy network."""
import json
import os
import sys

import torch

from benchmarks import photos
from engine import photo_run
from restore.restorer import Restorer
from tests.helpers.deployed import SMALL, save_recipe


def test_a_row(tmp_path, monkeypatch):
    small = Restorer.load(save_recipe(tmp_path, SMALL["sparnet"]), "cpu")
    monkeypatch.setattr(photo_run.Restorer, "load", lambda path, device: small)
    monkeypatch.setattr(photos, "SIZE", (150, 200))
    cores, threads = os.sched_getaffinity(0), torch.get_num_threads()
    monkeypatch.setattr(sys, "argv", ["photos", "--photos=2", "--faces=1", "--rounds=1", "--device=cpu",
                                      f"--json={tmp_path / 'row.json'}"])
    try:
        photos.main()
    finally:
        os.sched_setaffinity(0, cores)
        torch.set_num_threads(threads)
    row, = json.loads((tmp_path / "row.json").read_text())["rows"]
    assert row["faster"] > 0 and row["levels"] <= 30  # JPEG files of photos that differ by 1 grey level at most
