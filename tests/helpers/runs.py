# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Trainings small enough for a test, and comparison of their states."""
import signal

import torch

from engine import checkpoint, tester
from engine.trainer import Trainer
from options.test_options import parse_test
from tests.helpers.ranks import run_program

TINY = ["--load_size", "32", "--min_ch", "4", "--max_ch", "8", "--hourglass_ch", "4", "--res_depth", "0",
        "--bottleneck_size", "16", "--batch_size", "3", "--workers", "0", "--print_freq", "2", "--device", "cpu"]
SMALL_SPARNETHD = [
    "--preset", "sparnethd_ffhq", "--load_size", "64", "--min_feat_size", "8", "--min_ch", "8", "--max_ch", "32",
    "--channel_multiple", "8", "--hourglass_ch", "8", "--res_depth", "1", "--D_ch", "8", "--D_max_ch", "16",
    "--D_layers", "2", "--D_scales", "2", "--bottleneck_size", "4", "--batch_size", "2", "--ema_decay", "0.9",
    "--lambda_pcp", "0"]
SMALL_GPEN = ["--preset", "gpen_builtin", "--dataset_name", "celeba", "--load_size", "16", "--narrow", "0.016",
              "--style_dim", "8", "--batch_size", "3", "--workers", "0", "--print_freq", "2", "--device", "cpu",
              "--warmup_steps", "0"]
EVERY = {"r1": ["--r1_every", "4"], "path": ["--path_every", "2"]}  # intervals of GPEN's lazy regularisations


def small_gpen(*words):
    """Returns options of a small GPEN; an interval is set only for regularisations whose weight is not 0."""
    words = [str(word) for word in words]
    every = [word for name, of_name in EVERY.items()
             if [f"--lambda_{name}", "0"] not in map(list, zip(words, words[1:], strict=False)) for word in of_name]
    return [*SMALL_GPEN, *every, *words]


def state(folder):
    return torch.load(checkpoint.list_states(folder)[-1], weights_only=True)


def same(a, b, path=""):
    """Returns the path of the first difference between two nested states; '' if they are equal."""
    if isinstance(a, dict):
        if list(a) != list(b):
            return f"{path}: keys"
        return next(filter(None, (same(a[k], b[k], f"{path}/{k}") for k in a)), "")
    if isinstance(a, list):
        return next(filter(None, (same(x, y, f"{path}[]") for x, y in zip(a, b, strict=True))), "")
    if torch.is_tensor(a):
        return "" if torch.equal(a, b) and a.dtype == b.dtype else path
    return "" if a == b or path.endswith(("elapsed", "step")) and isinstance(a, float) else path


def whole_and_parts(train, monkeypatch, stop_after, *words, later=()):
    """Returns (state of an uninterrupted run, folder of a run that SIGTERM stopped at a step and that then resumed).

    train: the fixture. stop_after: the step. later: additional options for the resuming call.
    """
    status, folder = train(*words, name="whole")
    assert status == 0
    whole, wish = state(folder), Trainer._wish_to_stop

    def stop(self):
        if self.progress.step == stop_after:
            self.stopping.signals.received = signal.SIGTERM
        return wish(self)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_wish_to_stop", stop)
        status, folder = train(*words, name="parts")
    assert status == 143 and state(folder)["progress"]["step"] == stop_after
    torch.rand(3)  # changes the process's random state: resuming must not depend on it
    status, folder = train(*words, "--continue_train", *later, name="parts")
    assert status == 0
    return whole, folder


def run_ranks(count, folder, faces, *words, tiny=TINY):
    """Runs the tiny training on `count` ranks; returns their output."""
    return run_program(count, folder / "ranks", "newtrain.py", *tiny, "--dataroot", faces, "--checkpoints_dir", folder,
                       *words)


def largest_difference(a, b):
    return max(float((a[key] - b[key]).abs().max()) for key in a)


def restore(tmp_path, path, *words, status=0):
    options = parse_test(["--pth_path", str(path), "--results_dir", str(tmp_path / "results"), "--name", "t",
                          "--workers", "0", "--device", "cpu", *map(str, words)])
    assert tester.Tester(options).run() == status
    return tmp_path / "results" / "t"
