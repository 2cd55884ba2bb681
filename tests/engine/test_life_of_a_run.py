# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""What a run does about other writers, waits, signals, broken states and files, and a console that is gone."""
import json
import os
import re
import signal
import subprocess
import threading
from pathlib import Path

import pytest
import torch
from torch import distributed as dist

from engine import checkpoint, validation
from engine.logger import read_metrics
from engine.stopping import Stopping
from engine.trainer import Trainer
from options.train_options import parse_train
from tests.helpers.faces import write_faces
from tests.helpers.paths import ROOT
from tests.helpers.processes import HUNG
from tests.helpers.runs import TINY, restore, run_ranks, same, small_gpen, state
from tests.helpers.warm_python import forked_pid, warm_python
from utils.errors import UserError
from utils.folder_lock import only_writer
from utils.signals import Stopped


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def start(folder, faces, *words):
    """Starts a long training; returns its process after the first lines of its progress."""
    process = subprocess.Popen(
        [warm_python(), str(ROOT / "newtrain.py"), *TINY, "--dataroot", str(faces), "--total_epochs", "100000",
         "--checkpoints_dir", str(folder), "--name", "run", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stdout:
        if "Progress:" in line:
            return process
    raise AssertionError(process.communicate())


def train_gpen(folder, faces, *words):
    """Runs a tiny GPEN in this process; returns the run's folder."""
    Trainer(parse_train(small_gpen("--lambda_id", 0, "--dataroot", faces, "--checkpoints_dir", folder, *words))).fit()
    return folder / words[words.index("--name") + 1]


def workers_of(process):
    pid = forked_pid(process)
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


# -- one writer -----------------------------------------------------------------------------------------------------

def test_a_second_writer_is_told_of_the_first_and_touches_nothing(train, weights, tmp_path, faces):
    _, folder = train("--train_steps", 1)
    script = ("import sys; from utils.folder_lock import only_writer\n"
              "with only_writer(sys.argv[1], '--name'): print('held', flush=True); sys.stdin.read()")
    other = subprocess.Popen([warm_python(), "-c", script, str(folder)], cwd=ROOT, stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "held\n"
    before = content(folder)
    for words in (["--continue_train", "--train_steps", 2], ["--train_steps", 2]):
        with pytest.raises(UserError, match=rf"run is in use: process {forked_pid(other)} on host .+, since \d.+, "
                                            r"writes into it. Wait until it has ended, or choose another --name"):
            train(*words)
    assert content(folder) == before
    os.kill(forked_pid(other), signal.SIGKILL)  # the lock ends with its process
    other.wait(HUNG)
    assert train("--continue_train", "--train_steps", 2)[0] == 0
    results = tmp_path / "results" / "t"
    results.mkdir(parents=True)
    with only_writer(results, "--name"), pytest.raises(UserError, match="results/t is in use"):
        restore(tmp_path, weights[0], "--dataroot", faces)
    assert not (results / "restored").exists()
    restore(tmp_path, weights[0], "--dataroot", faces)


def test_the_lock_ends_with_a_run_that_is_refused_or_fails(train):
    train("--train_steps", 1)
    for words in (["--train_steps", 1], ["--continue_train", "--max_ch", 16], ["--continue_train", "--batch_size", 11]):
        with pytest.raises(UserError, match="already holds|another network|more than the 10 images"):
            train(*words)
    assert train("--continue_train", "--train_steps", 2)[0] == 0


# -- waits and signals ----------------------------------------------------------------------------------------------

def test_a_stopped_worker_ends_the_run_in_order(tmp_path, faces):
    process = start(tmp_path, faces, "--workers", "1", "--data_timeout", "6")
    os.kill(workers_of(process)[0], signal.SIGSTOP)
    _, err = process.communicate(timeout=HUNG)
    assert process.returncode == 1
    step = state(tmp_path / "run")["progress"]["step"]
    assert re.fullmatch(rf"error: no batch came within 6 s \(--data_timeout\) from the 1 worker .*"
                        rf"Saved after step {step}: go on with --continue_train\.\n", err)


def test_a_signal_ends_a_wait_for_a_batch(tmp_path, faces):
    process = start(tmp_path, faces, "--workers", "1")
    os.kill(workers_of(process)[0], signal.SIGSTOP)
    os.kill(forked_pid(process), signal.SIGHUP)
    out, err = process.communicate(timeout=HUNG)
    assert process.returncode == 129 and err == ""
    assert f"Stopped by SIGHUP after step {state(tmp_path / 'run')['progress']['step']}; saved." in out


def test_a_run_under_nohup_ignores_hang_ups():
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Stopping(0) as stopping:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stopping.agree()
            os.kill(os.getpid(), signal.SIGTERM)
            assert stopping.agree() and stopping.exit_status == 143
    finally:
        signal.signal(signal.SIGHUP, previous)


def test_too_little_shared_memory_is_one_line(train, monkeypatch):
    """torch reports a full /dev/shm with this error where a tensor is moved there."""
    def full(tensor):
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1_2>: No space left on device (28)")
    monkeypatch.setattr(torch.Tensor, "share_memory_", full)
    with pytest.raises(UserError, match="^/dev/shm .* is too small for the batches of 1 workers: .*--shm-size.*"
                                        "--workers 0. Nothing was trained yet.$"):
        train("--workers", 1, "--train_steps", 1)


def test_a_dataset_that_hangs_ends_the_wait_without_workers(train, monkeypatch):
    from data.celeba_dataset import CelebADataset
    monkeypatch.setattr(CelebADataset, "open_image", lambda self, path: threading.Event().wait())
    with pytest.raises(UserError, match="no batch came within 1 s .--data_timeout. from reading the images"):
        train("--data_timeout", 1, "--train_steps", 1)


def test_a_signal_ends_other_programs_in_one_line():
    script = ("import os, signal; from utils.errors import run_main\n"
              "def main():\n    os.kill(os.getpid(), signal.SIGTERM)\n    signal.pause()\nrun_main(main)")
    done = subprocess.run([warm_python(), "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=HUNG)
    assert done.returncode == 143
    assert re.fullmatch("stopped by SIGTERM; what was written before, .* is untouched\n", done.stderr)


# -- validation -----------------------------------------------------------------------------------------------------

def test_a_signal_ends_a_validation_and_the_resumed_run_makes_up_for_it(train, monkeypatch):
    words = ["--train_steps", 6, "--val_count", 4, "--val_batch_size", 1]  # 6 faces remain: an epoch is 2 steps
    _, whole = train(*words, name="whole")
    score, scored = validation.score_faces, []

    def interrupted(*arguments):
        scored.append(1)
        if len(scored) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return score(*arguments)
    with monkeypatch.context() as patch:
        patch.setattr(validation, "score_faces", interrupted)
        status, folder = train(*words)
    assert status == 143 and len(scored) == 2
    assert state(folder)["progress"]["step"] == 2 and state(folder)["progress"]["last_val"] is None
    train(*words, "--continue_train")
    for part in ("networks", "rng"):
        assert same(state(whole)[part], state(folder)[part]) == ""
    assert [r["step"] for r in read_metrics(folder) if r["kind"] == "val"] == [2, 4, 6]
    assert state(folder)["progress"]["best"] == state(whole)["progress"]["best"]


@pytest.mark.parametrize("error", [UserError("12 of 20 images are bad", status=1), RuntimeError("out of memory")])
def test_a_validation_that_fails_loses_nothing(train, monkeypatch, tmp_path, error):
    def fail(*_):
        raise error
    monkeypatch.setattr(validation, "score_faces", fail)
    with pytest.raises(type(error), match=str(error)):
        train("--train_steps", 3, "--val_count", 1, "--save_latest_freq", 100)
    assert state(tmp_path / "run")["progress"]["step"] == 3


def test_ranks_agree_on_the_end_of_a_validation(tmp_path, faces):
    """Three faces on two ranks: the second rank has one batch less."""
    out = run_ranks(2, tmp_path, faces, "--train_steps", 1, "--val_count", 3, "--val_batch_size", 1, "--name", "run")
    assert out.count("Validation: ") == 1
    stopping = Stopping(0)
    with pytest.raises(UserError, match="another rank failed.*why. Saved"):
        stopping.agreed = 1000
        stopping.raise_failure("Saved.")


def test_a_rank_that_heard_a_signal_ends_with_its_status_though_another_ended_first(monkeypatch):
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    for received, error, expected in ((signal.SIGTERM, "Connection closed by peer", Stopped),
                                      (None, "Connection closed by peer", RuntimeError),
                                      (signal.SIGTERM, "size mismatch", RuntimeError)):
        with pytest.raises(expected), Stopping(0) as stopping:
            stopping.signals.received = received
            raise RuntimeError(error)


# -- broken states --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("words", [["--lr", 1e38], ["--lr", 1e30, "--opt_level", "O2"]])
def test_a_training_that_diverges_leaves_the_last_good_checkpoint(train, words):
    _, folder = train("--train_steps", 2, "--val_count", 1)
    before = {name: data for name, data in content(folder).items() if name.endswith(".pth")}
    with pytest.raises(UserError, match="diverged|inf or nan"):
        train("--train_steps", 9, "--save_latest_freq", 1, "--val_count", 1, "--continue_train", *words)
    assert {name: data for name, data in content(folder).items() if name.endswith(".pth")} == before
    assert train("--train_steps", 4, "--val_count", 1, "--continue_train")[0] == 0


def test_a_discriminator_that_diverges_is_not_saved(tmp_path, faces):
    with pytest.raises(UserError, match="diverged|inf or nan"):
        train_gpen(tmp_path, faces, "--train_steps", 9, "--save_latest_freq", 1, "--d_lr", 1e30, "--lambda_r1", 0,
                   "--name", "run")
    assert not list((tmp_path / "run").glob("*.pth"))


def test_saving_changes_nothing_in_the_training(tmp_path, faces):
    """The trial of the next losses before a save leaves random numbers and buffers as they were."""
    often, rarely = (state(train_gpen(tmp_path, faces, "--train_steps", 5, "--save_latest_freq", every, "--name",
                                      str(every))) for every in (1, 100))
    for part in ("networks", "optimizers", "recipe", "rng"):
        assert same(often[part], rarely[part]) == ""


def test_a_state_that_fits_no_longer_is_one_line(train):
    _, folder = train("--train_steps", 2)
    path = checkpoint.list_states(folder)[-1]
    saved = torch.load(path, weights_only=True)
    moments = saved["optimizers"]["G"]["params"]
    name = next(iter(moments))
    moments[name]["exp_avg"] = torch.zeros(1)
    torch.save(saved, path)
    with pytest.raises(UserError, match="does not fit: optimizer G's exp_avg of .* has shape .1,., the parameter"):
        train("--train_steps", 4, "--continue_train")


# -- secondary files ------------------------------------------------------------------------------------------------

def test_damaged_secondary_files_do_not_refuse_a_good_checkpoint(train, capsys):
    _, folder = train("--train_steps", 4)
    metrics = folder / "metrics.jsonl"
    lines = metrics.read_text().splitlines()
    metrics.write_bytes(b"\xff\xfe\x00\n" + lines[0].encode() + b'\n[1, 2]\n{"kind": "train", "step": "x"}\n' +
                        b'{"kind": "val", "step": 2}\n{"step": 4')
    for name in ("samples.png", "options.yml", "latest_net_G.pth"):
        (folder / name).unlink()
        (folder / name).mkdir()
    (folder / "curves.png").unlink()
    os.mkfifo(folder / "curves.png")
    for event in (folder / "tensorboard").iterdir():
        event.unlink()
    (folder / "tensorboard").rmdir()
    (folder / "tensorboard").write_text("")
    capsys.readouterr()
    assert train("--train_steps", 6, "--continue_train")[0] == 0
    out = capsys.readouterr().out
    assert "warning: 4 lines of " in out and "the file as it was is metrics.jsonl.damaged." in out
    assert out.count("is not a file; it was moved to") == 4 and "tensorboard is not a folder; it was moved" in out
    assert [r["step"] for r in read_metrics(folder)] == [2, 6]
    assert (folder / "metrics.jsonl.damaged").read_bytes().startswith(b"\xff\xfe") and (folder / "curves.png").is_file()


def test_a_finished_run_says_that_nothing_was_trained(train, capsys):
    _, folder = train("--train_steps", 3, "--val_count", 1)
    before = {name: data for name, data in content(folder).items() if name.endswith((".pth", ".png"))}
    capsys.readouterr()
    assert train("--train_steps", 3, "--val_count", 1, "--continue_train")[0] == 0
    out = capsys.readouterr().out
    assert "Nothing was trained: " in out and "had already reached step 3" in out and "Accuracy" not in out
    assert before == {name: data for name, data in content(folder).items() if name.endswith((".pth", ".png"))}


# -- names and the console ------------------------------------------------------------------------------------------

def test_a_name_with_control_characters_forges_no_line(train, tmp_path, capsys):
    folder = write_faces(tmp_path / "faces", 120)
    (folder / "a\nIter: [1|1]1\t\tLoss_Pix: 0.0\x1b[2J\u2028.png").write_bytes(b"broken")
    train("--total_epochs", 1, "--batch_size", 40, dataroot=folder)
    for text in (capsys.readouterr().out, (tmp_path / "run" / "train.log").read_text()):
        assert "\x1b" not in text and "\u2028" not in text and r"a\nIter: [1|1]1" in text
        assert len(re.findall("^Iter: ", text, re.M)) == 2


def test_the_run_goes_on_where_nobody_reads_its_output(tmp_path, faces):
    words = f"{' '.join(TINY)} --dataroot '{faces}' --checkpoints_dir '{tmp_path}' --train_steps 4"
    without = ("import os, runpy, sys; os.close(1); sys.stdout = None; sys.argv[:1] = []; "
               "runpy.run_path('newtrain.py', run_name='__main__')")
    for name, program, end in (("head", "newtrain.py", "| head -1"), ("closed", f'-c "{without}" newtrain.py', "")):
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; '{warm_python()}' {program} {words} --name {name} {end}"], cwd=ROOT,
            capture_output=True, text=True, timeout=HUNG)
        assert done.returncode == 0 and done.stderr == ""
        assert state(tmp_path / name)["progress"]["step"] == 4
        assert "Performance: " in (tmp_path / name / "train.log").read_text()
    script = "from utils.errors import run_main\nrun_main(lambda: [print(i) for i in range(100000)] and 0)"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; '{warm_python()}' -c '{script}' | head -1"], cwd=ROOT,
                          capture_output=True, text=True, timeout=HUNG)
    assert done.returncode == 141 and done.stderr == "" and done.stdout == "0\n"


# -- profile --------------------------------------------------------------------------------------------------------

def test_steps_are_profiled_into_the_run_folder(train):
    with pytest.raises(UserError, match="--profile_steps 3:5: FROM:TO are steps of this call, 1 to 4"):
        train("--train_steps", 4, "--profile_steps", "3:5")
    for text in ("3", "0x1:2", "-1:2"):
        with pytest.raises(UserError, match="is not FROM:TO"):
            train("--train_steps", 4, f"--profile_steps={text}")
    _, folder = train("--train_steps", 4, "--profile_steps", "2:3")
    trace, = (folder / "profile").iterdir()
    names = {event.get("name") for event in json.loads(trace.read_text())["traceEvents"]}
    assert "aten::convolution" in names


def test_the_simulated_npu_is_profiled(train, npu):
    _, folder = train("--train_steps", 2, "--device", "npu", "--profile_steps", "2:2", "--opt_level", "O0")
    assert list((folder / "profile").iterdir())
