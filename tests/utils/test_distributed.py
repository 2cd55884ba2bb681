# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Several ranks: results equal those of one rank, resuming is exact, and a failed rank ends the others."""
import math
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

from data.drawn.builtin_faces import write_faces as write_builtin_faces
from data.loader import InOrder, TrainingOrder
from engine import loss_log
from engine.logger import read_metrics
from engine.schedule import LR_SCALES
from engine.trainer import Trainer
from options.base_options import default_workers
from options.train_options import parse_train
from tests.helpers.faces import write_faces
from tests.helpers.paths import ROOT
from tests.helpers.processes import HUNG
from tests.helpers.runs import TINY, largest_difference, run_ranks, same, state
from tests.helpers.warm_python import forked_pid, warm_python
from utils import distributed
from utils.errors import LOST_CONTACT, UserError

FSRGAN = ["--preset", "fsrnet_builtin", "--load_size", "32", "--width", "4", "--enc_blocks", "1", "--lambda_g", "0.1",
          "--D_ch", "4", "--workers", "0", "--device", "cpu"]


@pytest.fixture(scope="module")
def many_faces(tmp_path_factory):
    return write_faces(tmp_path_factory.mktemp("ranks") / "faces", 26)


def torchrun(count, program, *words, launcher=("torch.distributed.run",)):
    """Starts torchrun, or the launcher that the scripts use in its place; returns a process with piped output."""
    return subprocess.Popen(
        [warm_python(), "-m", *launcher, "--standalone", f"--nproc_per_node={count}", program, *map(str, words)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"})


def start_training(folder, faces, *words, launcher):
    return torchrun(2, "newtrain.py", *TINY, "--dataroot", faces, "--checkpoints_dir", folder, *words,
                    launcher=("utils.launch", *launcher))


# Two ranks with batch 3 train as one rank with batch 6, with instance norm and with batch norm over both ranks.
@pytest.mark.parametrize("words", [
    ["--Gnorm", "in"],
    ["--sync_bn", "--accumulate", "2", "--batch_size", "2"],
    ["--Gnorm", "in", "--combine_grad", "false", "--accumulate", "2", "--ema_decay", "0.9"],
], ids=["combined gradient", "synchronised batch norm", "buckets of DDP"])
def test_two_ranks_equal_one_with_twice_the_batch(tmp_path, many_faces, train, words, one_thread):
    common = ["--train_steps", 5, "--val_count", 3, *words]
    out = run_ranks(2, tmp_path, many_faces, *common, "--name", "two")
    batch = 2 * int(words[words.index("--batch_size") + 1] if "--batch_size" in words else 3)
    _, one = train(*common, "--batch_size", batch, name="one", dataroot=many_faces)
    two = tmp_path / "two"
    for part in ("networks", "ema"):
        for role, weights in state(one)[part].items():
            assert largest_difference(weights, state(two)[part][role]) < 5e-6  # Adam may have changed weights by 1e-3
    for mine, theirs in zip(read_metrics(one), read_metrics(two), strict=True):
        key = "psnr" if mine["kind"] == "val" else "Loss_Pix"
        assert mine[key] == pytest.approx(theirs[key], abs=1e-5)
    assert "(2 ranks of" in out and len(re.findall("^Training for 5 steps", out, re.M)) == 1
    assert state(two)["progress"]["samples"] == state(one)["progress"]["samples"]


def test_two_ranks_of_fsrgan_equal_one_with_twice_the_batch(tmp_path, one_thread):
    """Tests both phases with batch norm over both ranks, on built-in faces and their parsing maps."""
    faces = tmp_path / "faces"
    write_builtin_faces(faces, 11, first_seed=0, size=32)
    common = ["--train_steps", "1", "--sync_bn"]
    run_ranks(2, tmp_path, faces, *common, "--batch_size", "2", "--name", "two", tiny=FSRGAN)
    one, two = tmp_path / "one", tmp_path / "two"
    options = parse_train([*FSRGAN, "--dataroot", str(faces), "--checkpoints_dir", str(tmp_path), *common,
                           "--batch_size", "4", "--name", "one"])
    assert Trainer(options).fit() == 0
    for phase in "GD":
        ours, theirs = (state(folder)["optimizers"][phase]["params"] for folder in (one, two))
        # exp_avg holds the gradients. Rounding at the activations' kinks changes them by about 1 %; the gradients of a
        # single rank would be 300 % off.
        for name in ours:
            mean = ours[name]["exp_avg"]
            assert (mean - theirs[name]["exp_avg"]).abs().max() < 0.05 * mean.abs().max() + 1e-6
        ours, theirs = (state(folder)["networks"][phase] for folder in (one, two))
        for name in ours:
            if "running" in name:
                torch.testing.assert_close(ours[name], theirs[name], rtol=1e-4, atol=1e-6)
    ours, theirs = read_metrics(one)[-1], read_metrics(two)[-1]
    for name in ("Pix", "Coarse", "Prior", "G", "D"):
        assert ours[f"Loss_{name}"] == pytest.approx(theirs[f"Loss_{name}"], rel=1e-5)


def test_two_ranks_go_on_exactly_and_others_at_the_same_image(tmp_path, many_faces, train):
    words = ["--opt_level", "O2", "--amp_dtype", "bfloat16", "--workers", 1]
    run_ranks(2, tmp_path, many_faces, *words, "--train_steps", 6, "--name", "whole")
    run_ranks(2, tmp_path, many_faces, *words, "--train_steps", 4, "--name", "parts")
    for name in ("one", "four"):
        subprocess.run(["cp", "-r", tmp_path / "parts", tmp_path / name], check=True)
    out = run_ranks(2, tmp_path, many_faces, *words, "--train_steps", 6, "--name", "parts", "--continue_train")
    assert "Continuing after step 4 of 6" in out
    whole, parts = state(tmp_path / "whole"), state(tmp_path / "parts")
    assert len(whole["rng"]) == 2
    for part in ("networks", "optimizers", "rng"):
        assert same(whole[part], parts[part]) == ""
    # 24 of 2 x 26 images are used; the other 28 are 10 steps of 3 images on one rank, or 4 steps of 8 on four ranks.
    train(*words, "--continue_train", "--total_epochs", 2, name="one", dataroot=many_faces)
    assert state(tmp_path / "one")["progress"] | {"step": 14, "samples": 54} == state(tmp_path / "one")["progress"]
    run_ranks(4, tmp_path, many_faces, *words, "--continue_train", "--total_epochs", 2, "--batch_size", 2, "--name",
              "four")
    assert state(tmp_path / "four")["progress"] | {"step": 8, "samples": 56} == state(tmp_path / "four")["progress"]
    assert len(state(tmp_path / "four")["rng"]) == 4


def test_each_image_of_an_epoch_is_used_once_over_all_ranks():
    parts = [[place for batch in TrainingOrder(22, 3, 8, seed=5, start=4, rank=rank, ranks=4) for place in batch]
             for rank in range(4)]
    one = [place for batch in TrainingOrder(22, 12, 8, seed=5, start=4) for place in batch]
    assert sorted(place for part in parts for place in part) == sorted(one)
    assert [parts[rank][0] for rank in range(4)] == one[0:12:3]
    for length in (7, 8, 9):  # validation, with any remainder
        seen = [place.index for rank in range(4) for batch in InOrder(length, 2, rank, 4) for place in batch]
        assert sorted(seen) == list(range(length))


def test_the_schedule_goes_on_where_the_images_are(train):
    """Trains half of a cosine schedule at batch 4, the rest at batch 2, which starts at step 11 of 20 such steps."""
    words = ["--lr_policy", "cosine", "--lr", 1.0, "--print_freq", 1, "--max_grad_norm", 1e-9]
    train(*words, "--total_epochs", 4, "--batch_size", 4, "--max_minutes", 1e-9)
    _, folder = train(*words, "--total_epochs", 4, "--batch_size", 4, "--train_steps", 5, "--continue_train")
    train(*words, "--total_epochs", 4, "--batch_size", 2, "--continue_train")
    rates = [r["lr"] for r in read_metrics(folder) if r["kind"] == "train"]
    assert len(rates) == 5 + 10 and rates[-1] == pytest.approx(0, abs=1e-9)
    assert rates[5] == pytest.approx(0.5 + 0.5 * math.cos(math.pi * 10 / 19))
    assert LR_SCALES["linear"](8) == 8 and LR_SCALES["sqrt"](4) == 2 and LR_SCALES["none"](8) == 1


def wait_for(process, text):
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return lines
    raise AssertionError("".join(lines))


def rank_process(process, rank):
    """Returns the pid of a rank, a child of the launcher."""
    launcher = forked_pid(process)
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    found = [pid for pid in children if f"\0RANK={rank}\0" in "\0" + Path(f"/proc/{pid}/environ").read_text()]
    return int(found[0])


def test_a_rank_that_dies_ends_all_and_torchrun_restarts_them(tmp_path, many_faces):
    words = ["--train_steps", 100000, "--save_latest_freq", 10, "--name", "run"]
    logs = tmp_path / "logs"
    process = start_training(tmp_path, many_faces, *words,
                             launcher=["--max-restarts=1", f"--log-dir={logs}", "--redirects=1:3"])
    wait_for(process, "]20/100000")
    os.kill(rank_process(process, 1), signal.SIGKILL)
    told = "".join(wait_for(process, "Continuing after step"))  # restarts by itself from the newest checkpoint
    assert "Traceback" not in told
    wait_for(process, "Progress:")
    os.kill(rank_process(process, 1), signal.SIGKILL)
    rest, _ = process.communicate(timeout=HUNG)
    assert process.returncode == 128 + signal.SIGKILL
    assert re.search(r"error: rank 1 \(process \d+\) was ended by SIGKILL; the other ranks were ended, too", rest)
    assert state(tmp_path / "run")["progress"]["step"] >= 10
    # Another launch does not resume a finished or failed run.
    again = start_training(tmp_path, many_faces, *words, launcher=["--max-restarts=1"])
    out, _ = again.communicate(timeout=HUNG)
    assert again.returncode == 2 and "already holds checkpoints of a run" in out and "Traceback" not in out


def test_sigterm_to_the_launcher_saves_once_and_ends_cleanly(tmp_path, many_faces):
    process = start_training(tmp_path, many_faces, "--train_steps", 100000, "--name", "run", launcher=[])
    wait_for(process, "Progress:")
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=HUNG)
    assert process.returncode == 143 and "Traceback" not in rest
    assert len(re.findall("Stopped by SIGTERM after step", rest)) == 1
    step = int(re.search(r"after step (\d+)", rest)[1])
    assert [p.name for p in (tmp_path / "run").glob("state_*")] == [f"state_{step:08d}.pth"]


def test_a_rendezvous_that_fails_is_one_clear_line(tmp_path, faces):
    def alone(**env):
        return subprocess.run([warm_python(), "newtrain.py", *TINY, "--dataroot", faces, "--checkpoints_dir", tmp_path,
                               "--dist_timeout", "2"], cwd=ROOT, capture_output=True, text=True, timeout=HUNG,
                              env=os.environ | env)
    missing = alone(RANK="0", WORLD_SIZE="2")
    assert missing.returncode == 2
    assert re.fullmatch(r"error: .* LOCAL_RANK, MASTER_ADDR, MASTER_PORT is not set: start with `torchrun .*\n",
                        missing.stderr)
    nobody = alone(RANK="1", WORLD_SIZE="2", LOCAL_RANK="1", MASTER_ADDR="127.0.0.1", MASTER_PORT="1")
    assert nobody.returncode == 1 and "Traceback" not in nobody.stderr
    assert re.search(r"^error: rank 1 of 2 could not join the others at 127.0.0.1:1 within 2 s \(--dist_timeout\)",
                     nobody.stderr, re.M)


JOIN = """
import torch
from utils import distributed
from utils.errors import run_main
def main():
    print("joins", flush=True)
    distributed.start(torch.device("cpu"), 100_000)  # longer than the test waits
run_main(main)
"""


def test_a_signal_ends_a_rank_that_waits_for_one_that_never_comes():
    """torch connects in C++, where no handler runs: the signal would wait for --dist_timeout."""
    process = subprocess.Popen([warm_python(), "-c", JOIN], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, env=os.environ | {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2",
                                                            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"})
    assert process.stdout.readline() == "joins\n"
    time.sleep(1)  # it is in C++ by now; if not, the handler runs at once and the test is weaker, not wrong
    os.kill(forked_pid(process), signal.SIGTERM)
    try:
        _, err = process.communicate(timeout=HUNG)
    finally:
        if process.poll() is None:
            os.kill(forked_pid(process), signal.SIGKILL)
    assert process.returncode == 128 + signal.SIGTERM and err.splitlines()[-1].startswith("stopped by SIGTERM")


@pytest.mark.parametrize("name, value, message", [
    ("WORLD_SIZE", "two", "WORLD_SIZE must be a number from 1, not 'two'"),
    ("RANK", "2", "RANK must be a number from 0 to 1"),
    ("LOCAL_RANK", "-1", "LOCAL_RANK must be a number from 0"), ("LOCAL_WORLD_SIZE", "0", "LOCAL_WORLD_SIZE must be")])
def test_a_launchers_variables_are_numbers(monkeypatch, name, value, message):
    for variable, usual in zip(distributed.VARIABLES, ("0", "2", "0", "127.0.0.1", "29500"), strict=True):
        monkeypatch.setenv(variable, usual)
    assert distributed.launched()
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=f"the environment variable {message}"):
        default_workers(), distributed.launched()


def test_a_loss_that_is_not_finite_is_named_by_the_rank_that_has_it(monkeypatch):
    monkeypatch.setattr(distributed, "gather", lambda mine: [[1.0, 3.0], [2.0, float("inf")]])
    for rank, text in ((0, "It occurred on rank 1, whose error names the batch"), (1, "The batch was: c.png, a.png")):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        pending = loss_log.PendingLosses(["a.png", "b.png", "c.png"], {})
        for step in (7, 8):
            pending.add(step, {"Pix": torch.tensor(1.0)}, [2, 0] if step == 8 else [1])
        with pytest.raises(UserError, match=f"Loss_Pix is inf at step 8. {text}"):
            pending.read()
    monkeypatch.setattr(distributed, "gather", lambda mine: [[1.0], [2.0]])
    pending = loss_log.PendingLosses([], {})
    pending.add(1, {"Pix": torch.tensor(1.0)}, [])
    pending.read()
    assert pending.last == {"Pix": 1.5}


def test_losses_of_lazy_phases_keep_their_newest_value():
    pending = loss_log.PendingLosses(["a.png"], {"R1": 9.0})
    for step in range(1, 6):
        pending.add(step, {"Pix": torch.tensor(float(step))} | ({"R1": torch.tensor(0.5)} if step == 4 else {}), [0])
        if step in (3, 5):
            pending.read()
            assert pending.last == {"R1": 9.0 if step == 3 else 0.5, "Pix": float(step)}
    pending.add(6, {"Pix": torch.tensor(1.0)}, [0])
    pending.add(7, {"Pix": torch.tensor(1.0), "R1": torch.tensor(float("nan"))}, [0])
    with pytest.raises(UserError, match="Loss_R1 is nan at step 7. The batch was: a.png"):
        pending.read()


def test_who_caused_it():
    from utils.launch import first_failure

    def failure(code, when):
        from types import SimpleNamespace
        return SimpleNamespace(exitcode=code, timestamp=when)
    victims = {0: failure(LOST_CONTACT, 5), 2: failure(-15, 4), 1: failure(-9, 5), 3: failure(1, 6)}
    assert first_failure(victims)[0] == 1


def test_rank_0_alone_decides_and_its_refusal_is_everybodys(monkeypatch):
    """Simulates a rank on another node, which must use rank 0's decision about the folder instead of its own."""
    monkeypatch.setattr(distributed, "is_main", lambda: False)
    asked = []
    for told, expected in ((("folder", True), None), None), ((None, ("no such folder", 2)), "no such folder"):
        monkeypatch.setattr(distributed, "gather", lambda mine, told=told: [told, mine])
        if expected:
            with pytest.raises(UserError, match=expected) as refusal:
                distributed.from_main(lambda: asked.append(1))
            assert refusal.value.status == 2
        else:
            assert distributed.from_main(lambda: asked.append(1)) == ("folder", True)
            assert distributed.main_first(lambda: "my own") == "my own"
    assert not asked


def test_restoring_on_two_ranks_scores_each_face_once(tmp_path, many_faces, train):
    from engine.tester import Tester
    from options.test_options import parse_test
    _, folder = train("--train_steps", 1)
    words = ["--pth_path", str(folder / "latest_net_G.pth"), "--gtroot", str(many_faces), "--max_images", "9",
             "--results_dir", str(tmp_path), "--workers", "0", "--device", "cpu", "--batch_size", "2"]
    assert Tester(parse_test([*words, "--name", "one"])).run() == 0
    process = torchrun(2, "newtest.py", *words, "--name", "two")
    out, _ = process.communicate(timeout=HUNG)
    assert process.returncode == 0, out
    assert len(re.findall("^Accuracy:", out, re.M)) == 1
    one, two = ((tmp_path / name / "faces.csv").read_text() for name in ("one", "two"))
    values = [[float(v) for line in text.splitlines()[1:] for v in line.split(",")[1:]] for text in (one, two)]
    assert len(values[0]) == 9 * 12 and values[0] == pytest.approx(values[1], abs=1e-3)
    assert [line.split(",")[0] for line in one.splitlines()] == [line.split(",")[0] for line in two.splitlines()]
    assert (tmp_path / "two" / "samples.png").read_bytes() == (tmp_path / "one" / "samples.png").read_bytes()


@pytest.mark.parametrize("timeout, environ, execution, connect, group", [
    (600, {}, 612, 600, 680), (1, {}, 68, 120, 136), (1e6, {}, 17340, 7200, 1e6 + 68),
    (600, {"HCCL_EXEC_TIMEOUT": "1800", "HCCL_CONNECT_TIMEOUT": "300"}, 1800, 300, 1868)])
def test_the_times_of_hccl_follow_from_one_number(timeout, environ, execution, connect, group):
    times, seconds = distributed.hccl_times(timeout, environ)
    assert times == {"HCCL_EXEC_TIMEOUT": str(execution), "HCCL_CONNECT_TIMEOUT": str(connect)}
    assert seconds == group > execution
    with pytest.raises(UserError, match="HCCL_EXEC_TIMEOUT in the environment is 'x'"):
        distributed.hccl_times(timeout, {"HCCL_EXEC_TIMEOUT": "x"})
