"""A short run of benchmarks/fuzz.py: mutants of every kind of input are served or refused in words."""
import pytest

from benchmarks.fuzz import fuzz
from benchmarks.fuzzing.kinds import KINDS

RUNS = {"images": 3, "names": 3, "presets": 60, "arguments": 60, "states": 30, "weights": 30}


@pytest.mark.parametrize("kind", KINDS)
def test_no_mutant_passes_unnoticed_or_ends_in_a_traceback(kind):
    row, faults = fuzz(kind, list(range(RUNS[kind])), seed=1)
    assert not faults, "\n".join(f"{kind} {number}: {fault}" for number, fault in faults)
    assert row["mutants"] == RUNS[kind] * KINDS[kind].batch and 0 < row["served"] < row["mutants"]


def test_a_hang_a_crash_and_an_exception_are_found(monkeypatch):
    import os
    import time

    from benchmarks import fuzz as program

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
    monkeypatch.setattr(program, "HUNG", 1)
    monkeypatch.setattr(program.random, "Random", Seeded)
    row, faults = program.fuzz("odd", list(range(5)), seed=0)
    assert [number for number, _ in faults] == [1, 2, 3] and row["served"] == 2
    assert "unexpected" in faults[0][1] and "7" in faults[1][1] and "-9" in faults[2][1]
