# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""A short run of benchmarks/survival.py: after kill -9 at random moments, the result is unchanged."""
import json
import subprocess

import pytest

from tests.helpers.paths import ROOT
from tests.helpers.processes import HUNG
from tests.helpers.warm_python import warm_python


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_training_killed_again_and_again_ends_as_if_nothing_had_happened(ranks, tmp_path):
    done = subprocess.run(
        [warm_python(), "-m", "benchmarks.survival", "--kills", "3", "--ranks", str(ranks), "--steps", "24", "--json",
         tmp_path / "rows.json"], cwd=ROOT, capture_output=True, text=True, timeout=HUNG)
    assert done.returncode == 0, done.stdout + done.stderr
    row, = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert row["kills"] == 3 and row["unreadable checkpoints"] == 0 and row["bit-equal"] is True
