# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Whole runs on the CPU: exact resume, signals, non-finite losses, files and messages."""
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from engine import checkpoint, validation
from engine.logger import read_metrics
from engine.trainer import Trainer
from tests.helpers.faces import write_faces
from tests.helpers.paths import ROOT
from tests.helpers.processes import HUNG
from tests.helpers.runs import TINY, same, state, whole_and_parts
from tests.helpers.warm_python import forked_pid, warm_python
from utils.errors import UserError


# 10 faces, batch size 3: steps 1 to 3 lie in the first epoch, step 4 spans two epochs.
@pytest.mark.parametrize("stop_after, words, workers_later", [
    (1, [], 0),
    (4, [], 2),
    (5, ["--ema_decay", "0.9", "--lr_policy", "cosine", "--warmup_steps", "3"], 0),
    (5, ["--opt_level", "O2", "--loss_scale", "dynamic"], 0),
    (3, ["--opt_level", "O2", "--amp_dtype", "float16", "--accumulate", "2"], 2),
    (3, ["--opt_level", "O1", "--combine_grad", "false", "--val_count", "2"], 0),
    (5, ["--skips", "--residual", "--pix_loss", "psnr", "--skips_lr_factor", "6", "--opt_level", "O2"], 0),
])
def test_resume_is_bit_equal(train, monkeypatch, stop_after, words, workers_later):
    whole, folder = whole_and_parts(train, monkeypatch, stop_after, "--train_steps", 7, *words,
                                    later=["--workers", workers_later])
    parts = state(folder)
    for part in ("networks", "ema", "optimizers", "rng"):
        assert same(whole[part], parts[part]) == ""
    for key in ("step", "samples", "losses"):
        assert whole["progress"][key] == parts["progress"][key]

    def logged(run):
        return [(r["step"], r["Loss_Pix"]) for r in read_metrics(folder.parent / run) if r["kind"] == "train"]
    kept = dict(logged("parts"))
    assert all(kept[step] == loss for step, loss in logged("whole"))


def test_max_minutes_ends_a_call_and_changes_nothing_else(train, monkeypatch, capsys):
    """A limit reached after step 3 of 7 only pauses the run: resuming gives the result of an uninterrupted run."""
    words = ["--train_steps", 7, "--lr_policy", "cosine", "--val_count", 2]
    train(*words, name="whole")
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_wish_to_stop", lambda self: self.progress.step == 3)
        status, folder = train(*words, "--max_minutes", 5, name="parts")
    assert status == 0 and state(folder)["progress"]["step"] == 3
    out = capsys.readouterr().out
    assert "--max_minutes 5 ended this call after step 3 of 7; saved. Continue with --continue_train." in out
    assert (folder / "curves.png").exists() and (folder / "samples.png").exists()
    train(*words, "--continue_train", "--max_minutes", 100, name="parts")
    whole, parts = state(folder.parent / "whole"), state(folder)
    for part in ("networks", "optimizers", "rng"):
        assert same(whole[part], parts[part]) == ""
    assert whole["progress"]["last_val"] == parts["progress"]["last_val"]
    train("--train_steps", 2, "--max_minutes", 1e-9, name="none")  # the limit is reached before the first step
    assert state(folder.parent / "none")["progress"]["step"] == 0


def test_files_and_words_of_a_run(train, capsys):
    status, folder = train("--train_steps", 12, "--val_count", 2, "--save_latest_freq", 4, "--save_iter_freq", 5,
                           "--visual_freq", 6, "--ema_decay", "0.5")
    out = capsys.readouterr().out
    assert status == 0
    assert [p.name for p in checkpoint.list_states(folder)] == ["state_00000008.pth", "state_00000012.pth"]
    for name in ("latest_net_G.pth", "best_net_G.pth", "iter_5_net_G.pth", "iter_10_net_G.pth"):
        weights = torch.load(folder / name, weights_only=True)
        assert all(t.dtype == torch.float32 and t.is_contiguous() for t in weights.values() if t.is_floating_point())
    last = state(folder)
    latest = torch.load(folder / "latest_net_G.pth", weights_only=True)
    assert same(dict(last["ema"]["G"]), dict(latest)) == ""  # weight files hold the average: it restores best
    assert same(dict(last["networks"]["G"]), dict(latest)) != ""
    for name in ("samples.png", "curves.png"):
        assert Image.open(folder / name).size[0] > 100
    assert list((folder / "tensorboard").iterdir())
    assert yaml.safe_load((folder / "options.yml").read_text())["batch_size"] == 3

    # Scripts parse the log with awk: step time in field 8, loss in field 4.
    times = [line.split()[7] for line in out.splitlines() if "IterTotal:" in line]
    losses = [line.split()[3] for line in out.splitlines() if "Loss_Pix:" in line]
    assert len(times) == len(losses) == 6 and all(re.fullmatch(r"\d+\.\d+s", t) for t in times)
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\tElapse: \d+:\d\d:\d\d\tTimeLeft: \d+:\d\d:\d\d\t\tIterTotal: "
                     r"[\d.]+s\tDataTime\|Forward\|Backward: [\d.]+s\|[\d.]+s\|[\d.]+s$", out, re.M)
    # 8 faces remain for training, 3 per step: step 4 starts inside the second epoch.
    assert re.search(r"^Iter: \[1\|2/3\]2/12\t\tLoss_Pix: \d\.\d{6}$", out, re.M)
    assert re.search(r"^Iter: \[2\|1/3\]4/12\t\tLoss_Pix: ", out, re.M)
    assert re.search(r"^Performance: [\d.]+ images/sec, [\d.]+ sec/step \(mean of 6 steps, the first 6 left out\)$",
                     out, re.M)
    assert re.search(r"^Accuracy: [\d.]+ dB PSNR, bicubic [\d.]+ dB \(protocol sparnet\)$", out, re.M)

    records = read_metrics(folder)
    best = max((r for r in records if r["kind"] == "val"), key=lambda r: r["psnr"])
    assert last["progress"]["best"]["psnr"] == best["psnr"]
    # An epoch has 8 images: validations after steps 3, 6, 8, 11 and at the end.
    assert [r["step"] for r in records if r["kind"] == "val"] == [3, 6, 8, 11, 12]


def test_the_best_weights_are_those_of_the_best_validation_resumed_or_not(train, monkeypatch):
    measured = iter([20.0, 25.0, 22.0, 24.0, 26.0])
    monkeypatch.setattr(validation, "average", lambda rows, protocol, which: (
        (next(measured), 0.5) if which == "restored" else (10.0, 0.1)))
    words = ["--val_count", 1, "--save_iter_freq", 3]  # 9 faces remain for training, 3 per step
    for steps, best in ((9, 6), (12, 6), (15, 15)):
        _, folder = train("--train_steps", steps, *words, *(["--continue_train"] if steps > 9 else []))
        kept, right = (torch.load(folder / f"{label}_net_G.pth", weights_only=True)
                       for label in ("best", f"iter_{best}"))
        assert same(dict(kept), dict(right)) == "" and state(folder)["progress"]["best"]["step"] == best


def test_fps_is_measured(train, monkeypatch, capsys):
    """Uses a clock that advances only during steps. The run has 6 steps of 3 faces; the first 3 are left out."""
    step, now = Trainer._train_step, [100.0]

    def slow(self, micro_batches):
        now[0] += 0.25
        return step(self, micro_batches)
    monkeypatch.setattr(Trainer, "_train_step", slow)
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    train("--train_steps", 6)
    assert "Performance: 12.00 images/sec, 0.250000 sec/step (mean of 3 steps" in capsys.readouterr().out


def test_training_learns(train):
    """60 steps on ten smooth images lower the loss by more than a third."""
    _, folder = train("--train_steps", 60, "--lr", 0.005, "--augmentation", "none", "--print_freq", 1)
    losses = [r["Loss_Pix"] for r in read_metrics(folder) if r["kind"] == "train"]
    assert np.mean(losses[-5:]) < 0.65 * np.mean(losses[:5])


def test_same_seed_same_run_and_other_seed_other_run(train):
    runs = [state(train("--train_steps", 2, "--seed", seed, name=name)[1])["networks"]
            for seed, name in ((1, "a"), (1, "b"), (2, "c"))]
    assert same(runs[0], runs[1]) == "" and same(runs[0], runs[2]) != ""


@pytest.mark.parametrize("level", ["O0", "O2"])
def test_accumulation_equals_the_larger_batch(train, level):
    """Without batch norm, two batches of 3 equal one batch of 6."""
    words = ["--train_steps", 3, "--Gnorm", "none", "--opt_level", level, "--lr", "1e-3"]
    a, b = (state(train(*words, *more, name=more[0][2:])[1]) for more in (("--batch_size", 6), ("--accumulate", 2)))
    tolerance = 1e-5 if level == "O0" else 1e-2
    assert a["progress"]["losses"]["Pix"] == pytest.approx(b["progress"]["losses"]["Pix"], rel=tolerance)
    # Adam's step does not depend on the gradients' scale, so the first moments are compared.
    a, b = (torch.cat([p["exp_avg"].flatten() for p in s["optimizers"]["G"]["params"].values()]) for s in (a, b))
    assert (a - b).norm() < 10 * tolerance * a.norm()


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_nonfinite_loss_names_itself_the_step_and_the_files(train, monkeypatch, accumulate, faces, tmp_path):
    from models.sparnet_model import SPARNetModel
    step_fn = SPARNetModel.training_step

    def poisoned(self, batch, step):
        for phase, losses in step_fn(self, batch, step):
            yield phase, {k: v * (float("nan") if step == 4 else 1) for k, v in losses.items()}
    monkeypatch.setattr(SPARNetModel, "training_step", poisoned)
    with pytest.raises(UserError) as stop:
        train("--train_steps", 9, "--print_freq", 4, "--save_latest_freq", 3, "--accumulate", accumulate)
    text = str(stop.value)
    assert "Loss_Pix is nan at step 5" in text
    assert stop.value.status == 1
    assert len(re.findall(r"\d{3}\.png", text)) == 3 * accumulate
    # The run detected it at step 6; the last checkpoint is from step 3, with finite weights.
    saved = state(tmp_path / "run")
    assert saved["progress"]["step"] == 3
    assert all(t.isfinite().all() for t in saved["networks"]["G"].values())


@pytest.mark.parametrize("words", [["--val_count", 2], ["--visual_freq", 2], ["--save_iter_freq", 2]])
def test_nothing_is_made_of_a_network_that_a_nonfinite_loss_has_spoilt(train, tmp_path, words):
    with pytest.raises(UserError, match="Loss_Pix is nan at step [23]"):
        train("--train_steps", 6, "--lr", 1e30, "--print_freq", 1000, *words)
    assert not list((tmp_path / "run").glob("*.pth"))


def test_going_on_with_other_options_is_said(train, capsys):
    train("--train_steps", 4)
    capsys.readouterr()
    train("--train_steps", 6, "--lr", 0.5, "--batch_size", 2, "--continue_train", "--print_freq", 1)
    out = capsys.readouterr().out
    assert "warning: --continue_train changes options of the run: batch_size 3 -> 2, lr 0.0002 -> 0.5.\n" in out
    assert "Iter: [2|2/5]5/6" in out and "Iter: [2|3/5]6/6" in out  # 12, 14 and 16 faces; 10 per epoch


def test_many_overflows_in_a_row_stop_the_run(train):
    with pytest.raises(UserError, match="in a row overflowed in optimizer G.*Lower --loss_scale"):
        train("--train_steps", 60, "--opt_level", "O2", "--amp_dtype", "float16", "--loss_scale", 1e18,
              "--print_freq", 30)


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_finish_the_step_and_save(tmp_path, faces, number, code):
    """Signals the whole process group, as schedulers do; SIGTERM also goes to each worker, as with `pkill -f`."""
    process = subprocess.Popen(
        [warm_python(), str(ROOT / "newtrain.py"), *TINY, "--workers", "1", "--dataroot", str(faces), "--total_epochs",
         "100000", "--checkpoints_dir", str(tmp_path), "--name", "run"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for line in process.stdout:
        if "Progress:" in line:
            break
    trainer_pid = forked_pid(process)
    workers = Path(f"/proc/{trainer_pid}/task/{trainer_pid}/children").read_text().split()
    assert workers
    os.killpg(trainer_pid, number)
    if number == signal.SIGTERM:
        for worker in workers:
            os.kill(int(worker), number)
    rest = process.stdout.read()
    assert process.wait(HUNG) == code
    assert "Continue with --continue_train" in rest and "Traceback" not in rest
    step = int(re.search(r"after step (\d+)", rest).group(1))
    assert state(tmp_path / "run")["progress"]["step"] == step


def test_a_worker_that_is_killed_is_one_clear_line(tmp_path, faces):
    """The kernel kills a worker this way if memory runs out."""
    process = subprocess.Popen(
        [warm_python(), str(ROOT / "newtrain.py"), *TINY, "--workers", "1", "--dataroot", str(faces), "--total_epochs",
         "100000", "--checkpoints_dir", str(tmp_path), "--name", "run"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stdout:
        if "Progress:" in line:
            break
    trainer_pid = forked_pid(process)
    worker, = Path(f"/proc/{trainer_pid}/task/{trainer_pid}/children").read_text().split()
    os.kill(int(worker), signal.SIGKILL)
    _, err = process.communicate(timeout=HUNG)
    assert process.returncode == 1
    assert re.fullmatch(r"error: a process that prepares batches ended: .*Fewer --workers.*--continue_train\.\n", err)


def test_fine_tuning_starts_from_the_weights_given(train):
    _, first = train("--train_steps", 2, name="first")
    _, second = train("--train_steps", 1, "--lr", 0, "--pth_path", first / "latest_net_G.pth", name="second")
    a, b = (torch.load(f / "latest_net_G.pth", weights_only=True) for f in (first, second))
    learned = [name for name in a if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))]
    assert learned and all(torch.equal(a[name], b[name]) for name in learned)


def test_a_run_goes_on_with_the_average_that_it_began_with(train):
    for name, (first, second), held in (("with", (0.9, 0), "G; now it would have: none"),
                                        ("without", (0, 0.9), "none; now it would have: G")):
        train("--train_steps", 1, "--ema_decay", first, name=name)
        with pytest.raises(UserError, match=f"{name} does not fit: it has these averages of .*: {held}. Go on"):
            train("--train_steps", 2, "--ema_decay", second, "--continue_train", name=name)


def test_a_finished_run_is_not_overwritten(train):
    train("--train_steps", 1)
    with pytest.raises(UserError, match="already holds checkpoints.*--continue_train"):
        train("--train_steps", 1)


def test_weights_without_checkpoints_and_foreign_files_are_kept(train, tmp_path):
    """A user may remove the large checkpoints and keep the weights, or choose a folder that holds files of theirs."""
    _, folder = train("--train_steps", 1)
    checkpoint.list_states(folder)[0].unlink()
    kept = (folder / "latest_net_G.pth").read_bytes()
    with pytest.raises(UserError, match=r"already holds weights \(latest_net_G.pth\).* choose another --name"):
        train("--train_steps", 2)
    assert (folder / "latest_net_G.pth").read_bytes() == kept
    other = tmp_path / "other"
    other.mkdir()
    for name in (".draft.tmp", ".12.0123abcd.tmp"):  # the second name is that of an interrupted save
        (other / name).touch()
    train("--train_steps", 1, name="other")
    assert [path.name for path in other.glob(".*.tmp")] == [".draft.tmp"]


def test_bad_images_are_named_counted_replaced_and_reported(train, tmp_path, capsys):
    folder = write_faces(tmp_path / "many", 120)
    whole = (folder / "007.png").read_bytes()
    (folder / "007.png").write_bytes(whole[:len(whole) // 2])
    train("--total_epochs", 1, "--batch_size", 40, dataroot=folder)
    out = capsys.readouterr().out
    assert len(re.findall(r"warning: bad image 1: .*007\.png: ", out)) == 1
    assert re.search(r"Bad images: 1, .*\n  .*007\.png", out)
    train("--train_steps", 3, "--batch_size", 40, "--continue_train", dataroot=folder)  # repeats the same three steps
    assert re.search(r"Bad images: 1, .*\n  .*007\.png", capsys.readouterr().out)
    for name in ("055", "056", "057"):
        (folder / f"{name}.png").write_bytes(b"")
    with pytest.raises(UserError, match="4 of 120 images are bad, more than 1 %") as stop:
        train("--total_epochs", 1, "--batch_size", 40, dataroot=folder, name="more")
    assert stop.value.status == 1
    with pytest.raises(UserError, match="--on_bad_image stop.*(007|05[567]).png"):
        train("--total_epochs", 1, "--batch_size", 40, "--on_bad_image", "stop", dataroot=folder, name="stop")


def test_pictures_leave_the_training_alone(train):
    """Batch norm's statistics must not include the faces drawn in samples.png."""
    never, always = (state(train("--train_steps", 3, "--visual_freq", freq, name=str(freq))[1]) for freq in (9, 1))
    assert same(never["networks"], always["networks"]) == ""


def test_damaged_validation_faces_are_found_before_the_training(train, tmp_path, capsys):
    val = write_faces(tmp_path / "val", 12)
    for i in range(4):
        whole = (val / f"{i:03d}.png").read_bytes()
        (val / f"{i:03d}.png").write_bytes(whole[:len(whole) // 2])
    with pytest.raises(UserError, match="4 of 12 images are bad") as error:
        train("--train_steps", 1, "--valroot", val)
    assert error.value.status == 1 and not (tmp_path / "run").exists()
    (val / "003.png").unlink()
    assert train("--train_steps", 1, "--valroot", val)[0] == 0
    assert "11 to validate on" in capsys.readouterr().out


@pytest.mark.parametrize("below", ["runs", "."])
def test_the_output_of_trainings_is_no_face(tmp_path, train, capsys, below):
    faces = write_faces(tmp_path / "faces", 4)
    for name in ("a", "b"):
        train("--train_steps", 1, "--checkpoints_dir", faces / below, "--val_count", 1, dataroot=faces, name=name)
    out = capsys.readouterr().out
    assert out.count("Data: 3 faces in") == 2
    assert out.count(f"the output folder {'runs' if below == 'runs' else 'a'} is not searched") == 1


def test_a_refused_training_leaves_no_folder_behind_and_touches_no_other(train, tmp_path):
    words = "--lambda_pcp", 1  # without --pcp_path
    with pytest.raises(UserError, match="--pcp_path"):
        train(*words, name="new")
    assert not (tmp_path / "new").exists()
    with pytest.raises(UserError, match="--pcp_path"):
        train(*words, "--checkpoints_dir", tmp_path / "runs" / "more", name="new")
    assert not (tmp_path / "runs").exists()
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError, match="--pcp_path"):
        train(*words, name="mine")
    assert (tmp_path / "mine").exists()  # it was there before
    status, run = train("--train_steps", 1, name="new")
    assert status == 0 and (run / "latest_net_G.pth").exists()
