# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Checkpoints: which are kept and loaded, and what happens with corrupted files and failed writes."""
import errno
import os
import re
import subprocess

import numpy as np
import pytest
import torch

from engine import checkpoint
from tests.helpers.paths import ROOT
from tests.helpers.runs import TINY
from tests.helpers.warm_python import warm_python
from utils.errors import UserError


def whole_state(step):
    """Returns a small state with everything that a checkpoint must hold."""
    return {"networks": {"G": {"x": torch.full((1000,), float(step))}}, "ema": {}, "optimizers": {},
            "rng": [{"cpu": torch.get_rng_state(), "device": None}], "options": {},
            "progress": {"step": step, "samples": 3 * step, "elapsed": 1.0}}


def save(folder, step, keep=2):
    checkpoint.save_state(folder, step, whole_state(step), keep)


def loaded(folder):
    """Returns the step of the checkpoint that a run in `folder` continues from."""
    return checkpoint.load_state(folder)[0]["networks"]["G"]["x"][0]


def test_last_k_are_kept_and_the_newest_is_loaded(tmp_path):
    for step in (5, 20, 30, 100):
        save(tmp_path, step, keep=3)
    assert [p.name for p in checkpoint.list_states(tmp_path)] == [
        "state_00000020.pth", "state_00000030.pth", "state_00000100.pth"]
    assert loaded(tmp_path) == 100
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize("damage", [lambda b: b[:len(b) // 2], lambda b: b"", lambda b: bytes(len(b)),
                                    lambda b: b[:len(b) // 2] + bytes([b[len(b) // 2] ^ 1]) + b[len(b) // 2 + 1:]])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_taken(tmp_path, damage):
    for step in (10, 20):
        save(tmp_path, step)
    newest = checkpoint.state_path(tmp_path, 20)
    newest.write_bytes(damage(newest.read_bytes()))
    state, warnings = checkpoint.load_state(tmp_path)
    assert state["progress"]["step"] == 10
    assert len(warnings) == 1 and re.search(r"state_00000020.pth is corrupted \(.+\); continuing from", warnings[0])
    save(tmp_path, 15, keep=1)  # must keep this one, although the corrupted one has a higher step
    assert loaded(tmp_path) == 15
    checkpoint.state_path(tmp_path, 15).write_bytes(b"PK")
    with pytest.raises(UserError, match="none of the 2 checkpoints in .* can be used: the newest .* is corrupted"):
        checkpoint.load_state(tmp_path)


def test_nothing_to_go_on_from(tmp_path):
    with pytest.raises(UserError, match="--continue_train: no checkpoint"):
        checkpoint.load_state(tmp_path)


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)
    torch.save({"format": 1, "x": Evil()}, checkpoint.state_path(tmp_path, 1))
    with pytest.raises(UserError, match="state_00000001.pth .*not a checkpoint"):
        checkpoint.load_state(tmp_path)
    assert not (tmp_path / "ran").exists()


def wrong(*path, to=None):
    """Returns a function that replaces a value of a nested state, or removes it."""
    def change(state):
        inner = state
        for key in path[:-1]:
            inner = inner[key]
        if to is None:
            del inner[path[-1]]
        else:
            inner[path[-1]] = to
    return change


@pytest.mark.parametrize("change, words", [
    *((wrong(part), f"it lacks {part}") for part in ("networks", "ema", "optimizers", "rng", "progress", "options")),
    (wrong("progress", "step"), "progress lacks step"),
    (wrong("progress", "step", to="x"), "progress/step is str 'x', not a count"),
    (wrong("progress", "step", to=-5), "progress/step is int '-5', not a count"),
    (wrong("progress", "step", to=True), "progress/step is bool 'True', not a count"),
    (wrong("progress", "samples", to=2.5), "progress/samples is float '2.5', not a count"),
    (wrong("progress", "elapsed", to=float("nan")), "progress/elapsed is float 'nan', not a time"),
    (wrong("progress", "best", to="good"), "progress/best is str 'good', not the result of a validation"),
    (wrong("progress", "losses", to={"Pix": "low"}), "progress/losses/Pix is str 'low', not a number"),
    (wrong("progress", "step", to=2**70), "progress/step is int '[0-9]*', not a count"),
    (wrong("options", to={"lr": torch.zeros(2)}), "options/lr is Tensor, not the value of an option"),
    (wrong("networks", to={3: {}}), "networks has the name int '3', not a text"),
    (wrong("progress", to=[]), "progress is list, not a dict"),
    (wrong("rng", to=[]), "rng is list, not a list of one state per rank"),
    (wrong("rng", 0, "cpu", to=torch.tensor([float("nan")])), "rng/0/cpu is not the state of a random number"),
    (wrong("rng", 0, "cpu", to=torch.full((5056,), 255, dtype=torch.uint8)), "rng/0/cpu is not the state of a random"),
    (wrong("networks", to="G"), "networks is str 'G', not a dict of networks"),
    (wrong("networks", "G", "x", to="1"), "networks/G/x is str '1', not a tensor"),
    (wrong("networks", "G", "x", to=torch.tensor([1.0, float("inf")])), r"inf or nan \(networks/G/x\)"),
    (wrong("ema", "G", to={"x": torch.tensor(float("nan"))}), r"inf or nan \(ema/G/x\)"),
    (wrong("optimizers", "G", to={"params": {}, "shared": {}}), "optimizers/G lacks scaler"),
    (wrong("optimizers", "G", to={"params": {}, "shared": {"step": "x"}, "scaler": {}}), "G/shared/step is str 'x'"),
    (wrong("optimizers", "G", to={"params": {}, "shared": {"step": 1.0}, "scaler": {}}), "G/scaler/scale is NoneType"),
    (wrong("optimizers", "G", to={"params": {}, "shared": {}, "scaler": {"scale": torch.tensor(1j)}}),
     "G/scaler/scale is Tensor, not a count"),
    (wrong("optimizers", "G", to={"params": {"x": {"exp_avg": torch.zeros(2)}}, "shared": {}, "scaler": {}}),
     "G/shared lacks step"),
    (wrong("format", to=2), "is not a checkpoint of this version .format 2 instead of 1"),
    (wrong("format"), "it holds no format number"),
])
def test_a_state_that_is_not_whole_is_described_and_passed_over(tmp_path, change, words):
    content = {"format": 1, "version": "0"} | whole_state(2)
    change(content)
    torch.save(content, checkpoint.state_path(tmp_path, 2))
    with pytest.raises(UserError, match=f"--continue_train: the only checkpoint .*state_00000002.pth .*{words}"):
        checkpoint.load_state(tmp_path)
    save(tmp_path, 1)
    state, warnings = checkpoint.load_state(tmp_path)
    assert state["progress"]["step"] == 1
    assert len(warnings) == 1 and re.search(f"state_00000002.pth .*{words}.*; continuing from the one before it",
                                            warnings[0])


def test_numbers_of_numpy_are_read_and_other_objects_named(tmp_path):
    content = {"format": 1} | whole_state(2)
    content["progress"] |= {"step": np.int64(2), "best": {"psnr": np.float64(20.5)}}
    torch.save(content, checkpoint.state_path(tmp_path, 2))
    progress = checkpoint.load_state(tmp_path)[0]["progress"]
    assert progress["best"] == {"psnr": 20.5} and type(progress["step"]) is int
    torch.save(content | {"extra": tmp_path}, checkpoint.state_path(tmp_path, 2))
    with pytest.raises(UserError, match=r"holds a Python object \(pathlib\.\w+\)"):
        checkpoint.load_state(tmp_path)
    torch.save({"weight": torch.ones(2)}, checkpoint.state_path(tmp_path, 2))
    with pytest.raises(UserError, match="it holds weights only"):
        checkpoint.load_state(tmp_path)


def test_nothing_that_is_not_finite_replaces_anything(tmp_path):
    save(tmp_path, 1)
    net = torch.nn.Conv2d(1, 1, 1)
    checkpoint.save_weights(tmp_path, "best", {"G": net})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    bad = whole_state(2)
    bad["networks"]["G"]["x"][7] = float("inf")
    with pytest.raises(UserError, match="state after step 2 holds inf or nan .networks/G/x.*is not saved"):
        checkpoint.save_state(tmp_path, 2, bad, keep=1)
    with torch.no_grad():
        net.bias.fill_(float("nan"))
    with pytest.raises(UserError, match="best_net holds inf or nan .G/bias"):
        checkpoint.save_weights(tmp_path, "best", {"G": net})
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


def test_a_flipped_bit_anywhere_is_harmless_or_found(tmp_path):
    """Flips every 101st bit of a small file, including its zip structure, which zipfile and torch do not verify."""
    save(tmp_path, 1)
    save(tmp_path, 2)
    newest = checkpoint.state_path(tmp_path, 2)
    content, good = newest.read_bytes(), checkpoint.load_state(tmp_path)[0]
    gone_back = 0
    for bit in range(0, 8 * len(content), 101):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        newest.write_bytes(damaged)
        state, said = checkpoint.load_state(tmp_path)
        gone_back += len(said)
        assert said or str(state) == str(good)
    assert gone_back > 100


@pytest.mark.parametrize("fault", ["fsync", "replace"])
@pytest.mark.parametrize("number, words", [(errno.ENOSPC, "No space left"), (errno.EROFS, "Read-only file system"),
                                           (errno.EDQUOT, "quota")])
def test_a_full_or_read_only_disk_leaves_what_was_there(tmp_path, monkeypatch, fault, number, words):
    save(tmp_path, 10)
    before = checkpoint.state_path(tmp_path, 10).read_bytes()

    def full(*_):
        raise OSError(number, os.strerror(number))
    monkeypatch.setattr(os, fault, full)
    with pytest.raises(UserError, match=f"cannot write .*{words}.*before is unchanged") as error:
        save(tmp_path, 20, keep=1)
    assert error.value.status == 1
    assert [p.name for p in tmp_path.iterdir()] == ["state_00000010.pth"]
    assert checkpoint.state_path(tmp_path, 10).read_bytes() == before


def test_a_real_write_that_stops_in_the_middle(tmp_path, faces):
    """The kernel limits the file size: the run ends with one error line, status 1 and no partial file."""
    words = ["newtrain.py", *TINY, "--dataroot", str(faces), "--checkpoints_dir", str(tmp_path), "--name", "run",
             "--train_steps", "2"]
    limited = ("import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000)); "
               "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')")
    done = subprocess.run([warm_python(), "-c", limited, *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: cannot write ") and "Traceback" not in done.stderr
    assert not checkpoint.list_states(tmp_path / "run")
    assert not [p for p in (tmp_path / "run").iterdir() if "tmp" in p.name]
    assert subprocess.run([warm_python(), *words], cwd=ROOT).returncode == 0


def test_weights_stand_alone_as_the_public_code_wants_them(tmp_path):
    net = torch.nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last)
    checkpoint.save_weights(tmp_path, "latest", {"G": net})
    weights = torch.load(tmp_path / "latest_net_G.pth", weights_only=True)
    assert list(weights) == ["weight", "bias"] and weights["weight"].is_contiguous()
    assert torch.equal(weights["weight"], net.weight)
