# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""benchmarks/on_device.py at toy size, so that the minutes of a borrowed device are not spent on its mistakes."""
import json
import math
import os
import subprocess
import sys
import types

import pytest
import torch

from benchmarks import device_parts, on_device
from benchmarks.device_parts import runs
from engine.trainer import Trainer
from options.train_options import parse_train

CPU = torch.device("cpu")
COLUMNS = {"step": "times as fast as plain", "sparnethd": "peak GB", "restoring": "faces/s", "gpen": "images/s",
           "graphs": "seconds to start", "ceilings": "share", "precision": "PSNR dB", "ranks": "images/s",
           "resume": "bit-equal"}


@pytest.fixture
def in_this_process(monkeypatch):
    """newtrain.py's trainings on one device run in this process."""
    really = subprocess.run

    def run(command, **options):
        if "torch.distributed.run" in command:
            return really(command, **options)
        assert Trainer(parse_train(command[command.index("newtrain.py") + 1:])).fit() == 0
        return subprocess.CompletedProcess(command, 0)
    monkeypatch.setattr(runs.subprocess, "run", run)


@pytest.mark.parametrize("part", COLUMNS)
def test_every_part_measures_at_toy_size(part, in_this_process):
    rows = device_parts.PARTS[part](CPU, True)
    assert rows and all(COLUMNS[part] in row for row in rows)
    numbers = [value for row in rows for value in row.values() if isinstance(value, float)]
    assert all(math.isfinite(value) for value in numbers)
    if part == "resume":
        assert [row["bit-equal"] for row in rows] == ["yes", "yes"]


def test_what_was_measured_is_kept_when_a_part_fails_or_the_time_is_over(monkeypatch, tmp_path, capsys):
    found = {"step": {"rows": [{"images/s": 2.0}]}, "gpen": {"failed": "out of memory"}}
    left = []

    def measure(part, options, seconds):
        left.append(seconds)
        if part == "gpen":
            monkeypatch.setattr(on_device.time, "monotonic", lambda: 1e9)
        return found[part]
    monkeypatch.setattr(on_device, "measure", measure)
    monkeypatch.setattr(sys, "argv", ["on_device", "--device", "cpu", "--minutes", "2", "--json",
                                      str(tmp_path / "out.json"), "--parts", "step", "gpen", "resume"])
    assert on_device.main() == 1
    record = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert record["parts"] == {"step": [{"images/s": 2.0}], "gpen": [{"failed": "out of memory"}],
                               "resume": [{"failed": "no time was left"}]}
    assert 100 < left[1] <= left[0] <= 120 and "failed out of memory" in capsys.readouterr().out


def test_a_part_that_takes_too_long_or_fails_says_so(monkeypatch):
    class Options:
        device, toy = "cpu", True

    def instead(code, **further):
        monkeypatch.setattr(on_device.subprocess, "Popen", lambda command, **how: popen(
            [sys.executable, "-c", code], **how, **further))
    popen = subprocess.Popen
    monkeypatch.setattr(on_device, "subprocess", types.SimpleNamespace(**vars(subprocess)))
    instead("import sys; sys.exit('a\\nerror: no memory')")
    assert on_device.measure("step", Options, 60) == {"failed": "error: no memory"}
    # A child of the part holds the other end of a pipe: the pipe ends with the child.
    ours, theirs = os.pipe()
    os.set_inheritable(theirs, True)
    instead("import subprocess; subprocess.run(['sleep', '900'], close_fds=False)", close_fds=False)
    assert on_device.measure("step", Options, 1) == {"failed": "not done after 1 s"}
    os.close(theirs)
    assert os.read(ours, 1) == b""
    os.close(ours)
