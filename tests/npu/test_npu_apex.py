# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Trains under the stand-in for Ascend's apex (tests/npusim/site_apex) on simulated NPUs, in their own processes."""
import os
import re

import pytest

from tests.helpers.paths import ROOT, SIMULATED_APEX, SIMULATED_NPU
from tests.helpers.ranks import run_program
from tests.helpers.runs import TINY
from tests.helpers.warm_python import warm_python

# Trains as newtrain.py does, then prints the losses and whether all ranks' float32 weights are equal.
PROGRAM = """
import hashlib, sys
from engine.trainer import Trainer
from options.train_options import parse_train
from utils import distributed
from utils.errors import run_main

def main():
    with distributed.session():
        trainer = Trainer(parse_train(sys.argv[1:]))
        status = trainer.fit()
        weights = hashlib.sha256()
        for optimizer in trainer.optimizers.values():
            for master in optimizer.masters.values():
                weights.update(master.detach().cpu().numpy().tobytes())
        ranks = distributed.gather(weights.hexdigest())
        if distributed.is_main():
            print(type(optimizer).__name__, "ranks with other weights:", len(set(ranks)) - 1)
        return status

run_main(main)
"""


@pytest.fixture
def run(npu, tmp_path, faces, monkeypatch):
    """Returns run(apex, count, *words) -> output of a tiny training on `count` simulated NPUs."""
    warm_python()  # starts its server, which must not inherit the PYTHONPATH below
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)

    def start(apex, count, *words):
        path = [SIMULATED_NPU, ROOT, *([SIMULATED_APEX] if apex else [])]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, path)))
        return run_program(count, tmp_path / "logs", program, *TINY, "--device", "npu", "--batch_size", 1, "--dataroot",
                           faces, "--checkpoints_dir", tmp_path, "--print_freq", 1, "--name", f"{apex}", *words)
    return start


def test_two_ranks_stay_equal_and_near_the_projects_own(run):
    words = ["--train_steps", 4, "--accumulate", 2, "--lr", "1e-3"]
    apex, own = run(True, 2, *words), run(False, 2, *words)
    assert "O2 with float16 by Ascend's apex 0.1+simulated |" in apex and "O2 with float16 by utils/amp.py |" in own
    assert "ApexOptimizer ranks with other weights: 0" in apex and "AmpOptimizer ranks with other weights: 0" in own
    losses = [[float(value) for value in re.findall(r"Loss_Pix: ([\d.]+)", out)] for out in (apex, own)]
    assert len(losses[0]) == 4 and losses[0] == pytest.approx(losses[1], abs=1e-3)
