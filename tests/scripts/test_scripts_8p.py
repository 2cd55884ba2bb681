# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The ModelZoo scripts for several devices: on the CPU with two ranks, and on 8 simulated NPUs over `hccl`."""
import os
import re
import shutil
import signal
from pathlib import Path

import pytest
import yaml

from tests.helpers.processes import wait_until
from tests.helpers.ranks import free_port
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


def find_process(word, repo):
    """Returns the id of the process in `repo` whose command contains `word`."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if word.encode() in (path / "cmdline").read_bytes() and Path(os.readlink(path / "cwd")) == repo:
                return int(path.name)
        except OSError:
            continue


def test_ranks_stop_in_order_if_their_launcher_is_killed(checkout):
    process = start_long_training(checkout)
    os.kill(find_process("utils.launch", checkout.repo), signal.SIGKILL)
    done = checkout.finish(process)
    assert done.status == 128 + signal.SIGKILL
    # The rank that notices first says it, the others stop with it.
    logs = "".join(path.read_text() for path in checkout.output.glob("train_*.log"))
    assert re.search(r"process \d+, which started this run, has ended: stopping", logs)
    assert "Stopped by SIGTERM" in done.out and "Final result" not in done.out
    assert "error: train_full_8p failed with exit status 137 (ended by SIGKILL)" in done.err
    assert len(list((checkout.output / "train_full_8p").glob("state_*.pth"))) == 1
    wait_until(lambda: not find_process("newtrain.py", checkout.repo), Ended)  # its last output is not yet its end


def test_launcher_and_ranks_stop_in_order_if_the_script_is_killed(checkout):
    process = start_long_training(checkout)
    process.kill()
    done = checkout.finish(process)  # returns when the last writer of its output has ended
    assert "Stopped by SIGTERM" in done.out
    wait_until(lambda: not find_process("newtrain.py", checkout.repo), Ended)
    assert len(list((checkout.output / "train_full_8p").glob("state_*.pth"))) == 1


class Ended:
    """Stands for a process in wait_until, where there is none to look at."""
    poll = staticmethod(lambda: None)


def test_two_launchers_train_together(checkout):
    """train_full_multinodes.sh, started once per host; here both are this machine, with one rank each."""
    words = ["--preset=tiny.yml", "--workers=0", "--train_steps=4", "--nnodes=2", "--rank_size=1",
             "--master_addr=127.0.0.1", f"--master_port={free_port()}", f"--data_path={checkout.faces}",
             "--output_path=shared runs"]
    script = "my repo/test/train_full_multinodes.sh"
    other = checkout.start("bash", script, "--node_rank=1", *words)
    done = checkout.script("train_full_multinodes.sh", "--node_rank=0", *words)
    second = checkout.finish(other)
    assert done.status == second.status == 0, done.out + done.err + second.out + second.err
    assert CLOSING_BLOCK.search(done.out) and "Final result" not in second.out
    assert checkout.keys("my repo_bs2_2p_acc")["RankSize"] == "2" and "(2 ranks of 2)" in done.out
    assert "Node 1 of 2 has finished; the results are on node 0." in second.out
    assert "Iter: " in (checkout.repo / "test/output/node_1/train_1.log").read_text()
    assert (checkout.folder / "shared runs/train_full_multinodes/best_net_G.pth").exists()


def test_a_modelarts_job_on_two_cards_is_one_training(checkout):
    job = ["my repo/modelarts_entry_perf.py", f"--data_url={checkout.faces}", "--train_url=job", "--workers=0",
           f"--preset={checkout.folder}/tiny.yml", "--train_steps=4"]
    card = {"RANK_SIZE": "2", "RANK_TABLE_FILE": "/user/config/jobstart_hccl.json", "MODELARTS_MODEL_PATH": "/model"}
    other = checkout.start("python3", *job, **card, ASCEND_DEVICE_ID="1", RANK_ID="1")
    done = checkout.finish(checkout.start("python3", *job, **card, ASCEND_DEVICE_ID="0", RANK_ID="0"))
    second = checkout.finish(other)
    assert done.status == second.status == 0, done.out + done.err + second.err
    assert second.out == "Card 1: card 0 starts one training on all cards; nothing to do here.\n"
    assert "RANK_TABLE_FILE is not used" in done.out and "(2 ranks of 2)" in done.out
    results = checkout.folder / "job"
    assert (results / "train_performance_8p/latest_net_G.pth").exists()
    assert "RankSize = 2\n" in (results / "0/my repo_bs2_2p_perf.log").read_text()
    assert {path.name for path in results.iterdir() if path.is_dir() and path.name[0] != "."} == {
        "0", "train_performance_8p"}


def test_performance_on_eight_simulated_npus(npu, checkout):
    tiny = yaml.safe_load((checkout.folder / "tiny.yml").read_text())
    (checkout.folder / "npu.yml").write_text(yaml.safe_dump(tiny | {"sync_bn": True}))
    done = checkout.finish(checkout.start(
        "bash", "my repo/test/train_performance_8p.sh", f"--data_path={checkout.faces}", "--preset=npu.yml",
        "--workers=0", "--train_steps=3", **SIMULATED))
    check_training(checkout, done, 8, 2, "my repo_bs2_8p_perf")
    assert "Device: npu:0 (" in done.out and "precision O2 with float16" in done.out


@pytest.mark.parametrize("script, arguments, message", [
    ("train_full_8p.sh", ["--rank_size=x"], "--rank_size= must be a number from 1 to 128, not 'x'"),
    ("train_full_8p.sh", ["--device_id=1"], "unknown argument --device_id=1"),
    ("train_full_1p.sh", ["--rank_size=2"], "unknown argument --rank_size=2"),
    ("train_eval_8p.sh", [], "--pth_path=WEIGHTS.pth is required"),
])
def test_wrong_arguments_are_one_line(checkout, script, arguments, message):
    done = checkout.script(script, *arguments)
    assert done.status == 2 and done.out == ""
    assert done.err.startswith(f"error: {message}") and len(done.err.splitlines()) == 1
