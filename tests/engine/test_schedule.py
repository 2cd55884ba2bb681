# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Learning-rate schedules: values computed by hand, and the rates that a run logs."""
import pytest

from engine.schedule import lr_factor


def test_schedules_by_hand():
    assert [lr_factor(s, 10, "constant") for s in (0, 9)] == [1, 1]
    steps = [lr_factor(s, 100, "step", decay_at=[0.5, 0.9], gamma=0.1) for s in (0, 49, 50, 89, 90, 99)]
    assert steps == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    assert [lr_factor(s, 5, "linear") for s in range(5)] == pytest.approx([1, 0.75, 0.5, 0.25, 0])
    assert [lr_factor(s, 5, "linear", final=0.2) for s in (0, 2, 4)] == pytest.approx([1, 0.6, 0.2])
    assert [lr_factor(s, 5, "cosine") for s in (0, 1, 2, 4)] == pytest.approx([1, 0.8535534, 0.5, 0])
    assert [lr_factor(s, 9, "cosine", warmup=4) for s in (0, 1, 3, 4, 8)] == pytest.approx([0.2, 0.4, 0.8, 1, 0])
    with pytest.raises(ValueError, match="policy"):
        lr_factor(0, 1, "plateau")


def test_schedules_are_really_stepped(train):
    from engine.logger import read_metrics
    for policy, expected, *words in (("cosine", [0.8535534, 0.1464466, 0]), ("linear", [0.75, 0.25, 0]),
                                     ("step", [1, 0.5, 0.25], "--lr_decay_at", 0.5, 0.8), ("constant", [1, 1, 1])):
        _, folder = train("--train_steps", 5, "--lr_policy", policy, "--lr", 1, *words, name=policy)
        seen = {r["step"]: r["lr"] for r in read_metrics(folder) if r["kind"] == "train"}
        assert [seen[s] for s in (2, 4, 5)] == pytest.approx(expected, abs=1e-6)


def test_a_warm_up_that_outlasts_the_training_is_one_warning(train, capsys):
    for warmup, warnings in ((2, 1), (1, 0)):
        train("--train_steps", 2, "--warmup_steps", warmup, name=f"run{warmup}")
        assert capsys.readouterr().out.count("warning: --warmup_steps 2 is not below the 2 steps of this") == warnings
