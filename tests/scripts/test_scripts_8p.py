"""The ModelZoo scripts for several devices: on the CPU with two ranks, and on 8 simulated NPUs over `hccl`."""
import os
import re
import shutil
import signal
from pathlib import Path

import pytest
import yaml

from tests.helpers.processes import wait_until
from tests.helpers.scripts import CLOSING_BLOCK, KEYS, SIMULATED, Checkout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return Checkout(tmp_path_factory.mktemp("scripts and ranks"))


def check_training(checkout, done, ranks, batch, case):
    assert done.status == 0, done.out + done.err
    block, keys = CLOSING_BLOCK.search(done.out), checkout.keys(case)
    assert list(keys) == KEYS and keys["CaseName"] == case and keys["RankSize"] == str(ranks)
    checkout.check_speed(block, ranks * batch)
    log = (checkout.output / "train_0.log").read_text()
    assert f"steps of {ranks * batch} faces ({ranks} ranks of {batch})" in log
    # Losses differ between ranks: each log line occurs once, with the mean over all ranks.
    assert log.count("Loss_Pix") == log.count("IterTotal") == len(
        (checkout.output / f"{case}_loss.txt").read_text().split())
    assert sorted(p.name for p in checkout.output.glob("train_?.log")) == [f"train_{i}.log" for i in range(ranks)]
    for rank in range(1, ranks):  # each rank logs its own times and the common losses
        told = (checkout.output / f"train_{rank}.log").read_text()
        assert re.findall("^Iter: .*", told, re.M) == re.findall("^Iter: .*", log, re.M) and "IterTotal" in told
        assert re.search(rf"^Device: (cpu|npu:{rank}) ", told, re.M)
    assert "Traceback" not in done.out + done.err


def test_training_and_scoring_on_two_ranks_of_a_cpu(checkout):
    done = checkout.train("train_full_8p.sh", f"--data_path={checkout.faces}", "--rank_size=2", "--train_steps=12")
    check_training(checkout, done, 2, 2, "my repo_bs2_2p_acc")
    assert re.search(r"^Accuracy: ", done.out, re.M)
    weights = checkout.folder / "kept"
    weights.mkdir()
    for name in ("best_net_G.pth", "options.yml"):
        shutil.copy(checkout.output / "train_full_8p" / name, weights)
    done = checkout.script("train_eval_8p.sh", f"--data_path={checkout.faces}", "--rank_size=2", "--workers=0",
                           "--pth_path=kept/best_net_G.pth")
    assert done.status == 0, done.out + done.err
    assert CLOSING_BLOCK.search(done.out) and "40 faces" in done.out
    assert checkout.keys("my repo_bs16_2p_acc")["RankSize"] == "2"
    assert len(list((checkout.output / "train_eval_8p/restored").iterdir())) == 40


def test_a_rank_that_is_killed_is_named_with_its_last_words(checkout):
    process = start_long_training(checkout)
    victim = next(int(p.parent.name) for p in Path("/proc").glob("[0-9]*/environ") if is_rank(p, 1, checkout.repo))
    os.kill(victim, signal.SIGKILL)
    done = checkout.finish(process)
    assert done.status == 128 + signal.SIGKILL
    assert re.search(r"the last lines of rank 1 ----\n(.*\n)*Iter: ", done.err)
    assert "error: rank 1 (process" in done.err and "was ended by SIGKILL" in done.err
    assert "error: train_full_8p failed with exit status 137" in done.err and "Final result" not in done.out
    assert (checkout.output / "train_1.log").exists()


def is_rank(environ, rank, repo):
    try:
        return (f"\0RANK={rank}\0" in "\0" + environ.read_text() and Path(os.readlink(environ.parent / "cwd")) == repo
                and b"newtrain.py" in (environ.parent / "cmdline").read_bytes())
    except OSError:
        return False


def start_long_training(checkout):
    """Starts train_full_8p.sh on two ranks and returns the process after its first steps."""
    log = checkout.output / "train_0.log"
    log.unlink(missing_ok=True)  # left by an earlier test
    process = checkout.start("bash", "my repo/test/train_full_8p.sh", f"--data_path={checkout.faces}", "--rank_size=2",
                             "--preset=tiny.yml", "--workers=0", "--train_steps=100000")
    wait_until(lambda: log.exists() and "IterTotal" in log.read_text(), process)
    return process


def test_sigterm_stops_all_ranks_in_order(checkout):
    process = start_long_training(checkout)
    process.send_signal(signal.SIGTERM)
    done = checkout.finish(process)
    assert done.status == 143, done.out + done.err
    assert "Stopped by SIGTERM" in done.out and "to continue, add --continue_train" in done.err
    assert "Traceback" not in done.out + done.err
    assert len(list((checkout.output / "train_full_8p").glob("state_*.pth"))) == 1


def test_performance_on_eight_simulated_npus(npu, checkout):
    tiny = yaml.safe_load((checkout.folder / "tiny.yml").read_text())
    (checkout.folder / "npu.yml").write_text(yaml.safe_dump(tiny | {"sync_bn": True}))
    done = checkout.finish(checkout.start(
        "bash", "my repo/test/train_performance_8p.sh", f"--data_path={checkout.faces}", "--preset=npu.yml",
        "--workers=0", "--train_steps=3", **SIMULATED))
    check_training(checkout, done, 8, 2, "my repo_bs2_8p_perf")
    assert "Device: npu:0 (" in done.out and "precision O2 with float16" in done.out


@pytest.mark.parametrize("script, arguments, message", [
    ("train_full_8p.sh", ["--rank_size=x"], "--rank_size must be a number of devices, not 'x'"),
    ("train_full_8p.sh", ["--device_id=1"], "unknown argument --device_id=1"),
    ("train_full_1p.sh", ["--rank_size=2"], "unknown argument --rank_size=2"),
    ("train_eval_8p.sh", [], "--pth_path=WEIGHTS.pth is required"),
])
def test_wrong_arguments_are_one_line(checkout, script, arguments, message):
    done = checkout.script(script, *arguments)
    assert done.status == 2 and done.out == ""
    assert done.err.startswith(f"error: {message}") and len(done.err.splitlines()) == 1
