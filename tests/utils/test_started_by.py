# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""utils/started_by.py: a run ends when the process that started it has ended, however that came about."""
import os
import signal
import subprocess
import sys

import pytest

from tests.helpers.paths import ROOT
from tests.helpers.processes import HUNG
from utils.started_by import STARTED_BY, birth, end_with_starters

RUN = """import time, utils.started_by
utils.started_by.end_with_starters()
print("runs", flush=True)
time.sleep(900)"""


def start(env):
    return subprocess.Popen([sys.executable, "-c", RUN], cwd=ROOT, env=os.environ | env, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize("reaped", [True, False], ids=["ended", "zombie"])
def test_a_killed_starter_ends_the_run_with_sigterm(reaped):
    starter = subprocess.Popen(["sleep", "900"])
    run = start({STARTED_BY: f" {os.getpid()} {starter.pid}"})
    assert run.stdout.readline() == "runs\n"
    starter.kill()
    if reaped:
        starter.wait()
    _, err = run.communicate(timeout=HUNG)
    starter.wait()
    assert run.returncode == -signal.SIGTERM
    assert err == f"error: process {starter.pid}, which started this run, has ended: stopping.\n"


def test_a_starter_that_has_ended_before():
    starter = subprocess.Popen(["true"])
    starter.wait()
    run = start({STARTED_BY: str(starter.pid)})
    run.communicate(timeout=HUNG)
    assert run.returncode == -signal.SIGTERM


def test_without_starters_nothing_is_watched(monkeypatch):
    monkeypatch.delenv(STARTED_BY, raising=False)
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    monkeypatch.setattr("threading.Thread", None)
    end_with_starters()
    assert birth(os.getpid()) == birth(os.getpid())
