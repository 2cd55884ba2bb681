# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Runs started by version 0.2.0 (commit f99a202) continue: one small checkpoint per recipe.

tests/fixtures/checkpoints/RECIPE holds the state after step 2 and the options of the run; expected.json holds the
command line, under the option names of that version, and what that version printed and saved at step 3.
"""
import json
import shutil

import pytest
import torch

from data.drawn.builtin_faces import write_faces as draw_faces
from engine.trainer import Trainer
from options.train_options import parse_train
from tests.helpers.faces import write_faces
from tests.helpers.paths import ROOT

CHECKPOINTS = ROOT / "tests" / "fixtures" / "checkpoints"
EXPECTED = json.loads((CHECKPOINTS / "expected.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("recipe", EXPECTED)
def test_a_run_of_an_earlier_version_continues(recipe, tmp_path, one_thread):
    shutil.copytree(CHECKPOINTS / recipe, tmp_path / recipe)
    if recipe == "fsrnet":
        draw_faces(tmp_path / "drawn", 6, 0, 32)
        faces = tmp_path / "drawn" / "images"
    else:
        faces = write_faces(tmp_path / "faces", 10)
    expected = EXPECTED[recipe]
    options = parse_train([
        *expected["words"].split(), "--device", "cpu", "--workers", "0", "--print_freq", "1", "--total_epochs", "1000",
        "--dataroot", str(faces), "--checkpoints_dir", str(tmp_path), "--name", recipe, "--train_steps", "3",
        "--continue_train"])
    assert Trainer(options).fit() == 0
    records = [json.loads(line) for line in (tmp_path / recipe / "metrics.jsonl").read_text().splitlines()]
    last = next(record for record in records if record["kind"] == "train" and record["step"] == 3)
    losses = {name: value for name, value in last.items() if name.startswith("Loss_")}
    # Another processor rounds differently. Where a gradient is near 0, Adam turns this noise into full-size steps.
    # Within one step from equal weights and moments, a loss changes by far less than 0.1 %.
    assert losses == pytest.approx(expected["losses"], rel=2e-3)
    weights = torch.load(tmp_path / recipe / "latest_net_G.pth", weights_only=True)
    total = sum(float(value.double().abs().sum()) for value in weights.values() if value.is_floating_point())
    assert total == pytest.approx(expected["weights"], rel=1e-4)
