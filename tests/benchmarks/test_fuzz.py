# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""A short run of benchmarks/fuzz.py: mutants of every kind of input are served or refused in words."""
import json
import os
import subprocess
import time

import pytest

from benchmarks import fuzz
from benchmarks.fuzzing.kinds import KINDS
from tests.helpers.paths import ROOT
from tests.helpers.processes import HUNG
from tests.helpers.warm_python import warm_python

COUNTS = {"images": 80, "names": 80, "presets": 40, "arguments": 40, "states": 20, "weights": 60}


@pytest.mark.parametrize("kind", KINDS)
def test_no_mutant_passes_unnoticed_or_ends_in_a_traceback(kind, tmp_path):
    done = subprocess.run(  # not in this process: it has run backward passes, after which torch allows no fork
        [warm_python(), "-m", "benchmarks.fuzz", "--kind", kind, "--count", str(COUNTS[kind]), "--seed", "1",
         "--processes", "1", "--json", tmp_path / "rows.json"], cwd=ROOT, capture_output=True, text=True, timeout=HUNG)
    assert done.returncode == 0, done.stdout + done.stderr
    row, = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert row["faults"] == 0 and row["mutants"] == COUNTS[kind] and row["served"] > 0


def test_a_hang_a_crash_and_an_exception_are_found(monkeypatch):
    class Odd:
        """Mutant 0 is served, 1 raises, 2 ends the process, 3 hangs, 4 is served."""
        batch = 1

        def __init__(self, folder):
            pass

        def run(self, rng):
            act = int(rng.seeded.split()[-1])
            if act == 1:
                raise ValueError("unexpected")
            if act == 2:
                os._exit(7)
            if act == 3:
                time.sleep(1000)
            return 1

    class Seeded:
        def __init__(self, seeded):
            self.seeded = seeded
    monkeypatch.setitem(KINDS, "odd", Odd)
    monkeypatch.setattr(fuzz, "HUNG", 1)
    monkeypatch.setattr(fuzz.random, "Random", Seeded)
    row, faults = fuzz.fuzz("odd", list(range(5)), seed=0)
    assert [number for number, _ in faults] == [1, 2, 3] and row["served"] == 2
    assert "unexpected" in faults[0][1] and "7" in faults[1][1] and "-9" in faults[2][1]
