# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Which precision is computed in, by options, processor and the run so far."""
import json
from argparse import Namespace

import pytest
import torch

from engine.precision import choose_precision, record
from tests.helpers.faces import write_faces
from tests.helpers.runs import restore, state

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


def chosen(level=None, half=None, device=CPU, saved=None):
    """Returns (level, half type, note)."""
    (level, half), note = choose_precision(Namespace(opt_level=level, amp_dtype=half), device, saved)
    return level, str(half).removeprefix("torch."), note


def test_without_bfloat16_instructions_half_precision_is_taken_on_demand_only(processor):
    processor("AVX2")
    for level in ("O1", "O2"):
        taken, _, note = chosen(level)
        assert taken == "O0" and "\n" not in note
        assert note.startswith("this processor (Test CPU, AVX2, no bf16) has no bfloat16 instructions: a training step")
        assert note.endswith(f"O0 is taken; --amp_dtype bfloat16 insists on {level}.")
        assert chosen(level, "bfloat16")[0] == level and "times as long" in chosen(level, "bfloat16")[2]
    assert [chosen(level) for level in (None, "auto", "O0")] == [("O0", "bfloat16", None)] * 3
    assert [chosen(level, device=CUDA) for level in (None, "auto", "O2")] == [("O2", "float16", None)] * 3


@pytest.mark.parametrize("ability", ["bf16", "AMX"])
def test_auto_takes_what_the_processor_has(processor, ability):
    processor("AVX2", "AVX-512", ability)
    assert chosen("auto") == chosen("O2") == ("O2", "bfloat16", None)
    assert chosen() == ("O0", "bfloat16", None)  # the default does not depend on the processor


def test_a_resumed_run_keeps_its_precision(processor):
    processor("AVX2")
    before = {"opt_level": "O2", "amp_dtype": None}
    for saved in (before, before | {"precision": "cpu O2 bfloat16"}):  # the first: of an earlier version
        level, half, note = chosen("O2", saved=saved)
        assert (level, half) == ("O2", "bfloat16") and note.endswith("--opt_level O0 changes it.")
    assert chosen("O2", saved=before | {"precision": "cpu O0 bfloat16"}) == ("O0", "bfloat16", None)
    assert chosen("O0", saved=before) == (
        "O0", "bfloat16", "the run computed in O2 with bfloat16 on cpu so far, from here on in O0 on cpu.")
    on_npu = {"opt_level": None, "amp_dtype": None, "precision": "npu O2 float16"}
    assert chosen(saved=on_npu)[::2] == (
        "O0", "the run computed in O2 with float16 on npu so far, from here on in O0 on cpu.")
    auto = {"opt_level": "auto", "amp_dtype": None, "precision": "cpu O2 bfloat16"}  # of a processor that has bf16
    level, _, note = chosen("auto", saved=auto)
    assert level == "O2" and note.endswith("times as long in O2 as in O0. --opt_level O0 changes it.")
    processor("bf16")
    assert chosen("auto", saved={"opt_level": "auto", "amp_dtype": None, "precision": "cpu O0 bfloat16"})[0] == "O0"


def test_runs_and_evaluations_say_and_keep_what_they_compute_in(train, tmp_path, weights, processor, capsys):
    processor("AVX2")
    train("--train_steps", 1, "--opt_level", "O2")
    out = capsys.readouterr().out
    assert "| precision float32 |" in out and "Device: cpu (Test CPU, AVX2, no bf16, " in out
    assert out.count("warning: this processor (Test CPU, AVX2, no bf16) has no bfloat16") == 1
    processor("AVX2", "bf16")
    _, folder = train("--train_steps", 2, "--opt_level", "O2", "--continue_train")
    assert state(folder)["options"]["precision"] == record(CPU, choose_precision(
        Namespace(opt_level="O0", amp_dtype=None), CPU).precision) == "cpu O0 bfloat16"
    processor("AVX2")
    results = restore(tmp_path, weights[0], "--gtroot", write_faces(tmp_path / "gt", 1), "--opt_level", "O2")
    scores = json.loads((results / "scores.json").read_text())
    assert scores["opt_level"] == "O0" and scores["machine"].startswith("Test CPU, AVX2, no bf16, ")
    assert "O0 is taken" in capsys.readouterr().out


@pytest.mark.parametrize("damage", [{"precision": 0.5}, {"precision": "cpu O9 float8"}, {"opt_level": 2.0},
                                    {"opt_level": ["O2"], "amp_dtype": {}}])
def test_a_damaged_record_counts_as_none(processor, damage):
    processor("AVX2")
    assert chosen(saved={"opt_level": None, "amp_dtype": None, **damage})[:2] == ("O0", "bfloat16")
