# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The ModelZoo scripts and the ModelArts entries, run in a copy of the checkout whose path contains spaces."""
import os
import re
import shutil
import signal
from types import SimpleNamespace

import pytest
import torch
import yaml

from tests.helpers.faces import write_faces
from tests.helpers.paths import ROOT
from tests.helpers.processes import wait_until
from tests.helpers.scripts import CLOSING_BLOCK, KEYS, TINY_PRESET, Checkout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return Checkout(tmp_path_factory.mktemp("scripts and entries"))


@pytest.fixture(scope="module")
def full(checkout):
    """Runs train_full_1p.sh once and reads its results before later scripts move its folder aside."""
    leftover = checkout.output / "leftover"
    leftover.mkdir(parents=True)
    done = checkout.train("train_full_1p.sh", f"--data_path={checkout.faces.name}", "--train_steps=24")
    assert done.status == 0, done.out + done.err
    assert not leftover.exists() and (checkout.output.parent / "0.previous/leftover").is_dir()
    run = checkout.output / "train_full_1p"
    weights = checkout.folder / "kept weights"
    weights.mkdir()
    for name in ("best_net_G.pth", "options.yml"):
        shutil.copy(run / name, weights)
    return SimpleNamespace(
        out=done.out, block=CLOSING_BLOCK.search(done.out), log=(checkout.output / "train_0.log").read_text(),
        keys=checkout.keys("my repo_bs2_1p_acc"), weights=weights / "best_net_G.pth",
        losses=(checkout.output / "my repo_bs2_1p_acc_loss.txt").read_text().split(),
        options=yaml.safe_load((run / "options.yml").read_text()), files={p.name for p in run.iterdir()})


def test_full_prints_the_closing_block_and_passes_the_log_through(full):
    assert full.block
    assert full.log in full.out
    assert {"samples.png", "curves.png", "best_net_G.pth"} <= full.files
    assert "train_full_1p/samples.png" in full.out and "train_full_1p/best_net_G.pth" in full.out


def test_full_writes_the_keys_in_order(full):
    assert list(full.keys) == KEYS
    assert full.keys["Network"] == "my repo" and full.keys["CaseName"] == "my repo_bs2_1p_acc"
    assert full.keys["RankSize"] == "1" and full.keys["BatchSize"] == "2"
    assert full.keys["DeviceType"] == os.uname().machine
    assert full.keys["ActualFPS"] == full.block["fps"]
    assert float(full.keys["TrainingTime"]) == pytest.approx(1000 * float(full.block["step"]), abs=0.01)
    assert full.keys["E2ETrainingTime"] == full.block["seconds"]


def test_speed_is_that_of_the_log(full, checkout):
    lines = [line.split() for line in full.log.splitlines() if "IterTotal:" in line]
    seconds = [float(fields[7].removesuffix("s")) for fields in lines]
    assert len(seconds) == 5  # steps 5, 10, 15, 20 and 24
    mean = (5 * seconds[2] + 5 * seconds[3] + 4 * seconds[4]) / 14
    assert float(full.block["step"]) == pytest.approx(mean, abs=2e-6)
    checkout.check_speed(full.block, 2)
    own, steps = re.search(r"([\d.]+) sec/step \(mean of (\d+) steps", full.log).groups()
    # Same steps; the log's mean also counts the time from the end of step 10 to its line, which is small if the
    # machine is idle.
    assert steps == "14" and float(own) >= mean - 1e-6


def test_loss_and_accuracy_are_those_of_the_log(full):
    assert full.losses == re.findall(r"Loss_Pix: ([\d.]+)", full.log) and len(full.losses) == 5
    assert full.keys["ActualLoss"] == full.losses[-1]
    accuracy = re.search(r"^Accuracy: ([\d.]+) dB", full.log, re.MULTILINE)[1]
    assert full.block["accuracy"] == full.keys["TrainAccuracy"] == accuracy


def test_a_tenth_of_a_flat_folder_is_held_out(full, checkout):
    assert full.options["dataroot"] == str(checkout.faces)
    assert full.options["val_count"] == 4 and full.options["valroot"] is None
    assert "36 faces" in full.log and "4 to validate on" in full.log


def test_eval_scores_weights_inside_its_output_folder(full, checkout):
    run = checkout.output / "train_full_1p"
    run.mkdir(exist_ok=True)
    for path in full.weights.parent.iterdir():
        shutil.copy(path, run)
    done = checkout.script("train_eval_1p.sh", f"--data_path={checkout.faces}", "--workers=0",
                           "--pth_path=my repo/test/output/0/train_full_1p/best_net_G.pth")
    assert done.status == 0, done.out + done.err
    block, keys = CLOSING_BLOCK.search(done.out), checkout.keys("my repo_bs16_1p_acc")
    assert list(keys) == KEYS and keys["TrainAccuracy"] == block["accuracy"]
    assert f"Accuracy: {block['accuracy']} dB PSNR" in done.out
    assert f"Restoring took {block['fps']} images/sec" in done.out
    assert len(list((checkout.output / "train_eval_1p/restored").iterdir())) == 40
    assert (run / "best_net_G.pth").exists()


def test_finetune_starts_from_the_weights_and_keeps_train_and_val_apart(full, checkout):
    split = checkout.folder / "split faces"
    for part, count in (("train", 8), ("test", 2)):
        write_faces(split / part, count)
    done = checkout.train("train_finetune_1p.sh", f"--data_path={split}", "--train_steps=4", "--output_path=out put",
                          "--pth_path=kept weights/best_net_G.pth", "--precision_mode=allow_fp32_to_fp16")
    assert done.status == 0, done.out + done.err
    assert CLOSING_BLOCK.search(done.out)
    run = checkout.folder / "out put/train_finetune_1p"
    options = yaml.safe_load((run / "options.yml").read_text())
    assert options["dataroot"] == f"{split}/train" and options["valroot"] == f"{split}/test"
    assert options["opt_level"] == "O1" and options["pretrain_model_path"] == str(full.weights)
    before, after = (torch.load(path, weights_only=True) for path in (full.weights, run / "latest_net_G.pth"))
    moved = [(before[name] - after[name]).abs().max() for name in before if name.endswith("weight")]
    assert 0 < max(moved) < 0.01  # 4 Adam steps from the initial weights
    again = checkout.train("train_finetune_1p.sh", f"--pth_path={full.weights}", f"--data_path={split}",
                           "--output_path=out put")
    assert again.status == 2 and "out put/train_finetune_1p contains an earlier run" in again.err


@pytest.fixture
def few_builtin_faces(checkout):
    """Makes the scripts draw 6 faces to train on (5 for sparnet_builtin) and 2 to validate on."""
    common = checkout.repo / "test/common.sh"
    text = common.read_text()
    small = text.replace("builtin_train_faces=2000", "builtin_train_faces=6").replace(
        "builtin_val_faces=100", "builtin_val_faces=2").replace("builtin_quick_faces=800", "builtin_quick_faces=5")
    assert small.count("faces=6\n") == small.count("faces=2\n") == small.count("faces=5 ") == 1
    common.write_text(small)
    yield
    common.write_text(text)


def test_built_in_faces_are_drawn_and_sigterm_stops_the_training_in_order(checkout, few_builtin_faces):
    log = checkout.output / "train_0.log"
    log.unlink(missing_ok=True)  # left by an earlier test
    process = checkout.start("bash", "my repo/test/train_full_1p.sh", "--preset=tiny.yml", "--workers=0",
                             "--train_epochs=100000")
    wait_until(lambda: log.exists() and "IterTotal" in log.read_text(), process)
    process.send_signal(signal.SIGTERM)
    done = checkout.finish(process)
    assert done.status == 143
    assert "No --data_path: using the built-in faces drawn by this project" in done.out
    assert "6 faces in" in done.out and "2 to validate on" in done.out
    assert "Stopped by SIGTERM" in done.out and "Final result" not in done.out
    assert list((checkout.output / "train_full_1p").glob("state_*.pth"))


def test_built_in_faces_give_fsrnet_its_maps(checkout, few_builtin_faces):
    """--model=fsrnet alone selects its preset for the built-in faces, whose masks give the maps for the losses."""
    done = checkout.script("train_performance_1p.sh", "--model=fsrnet", "--workers=0", "--train_steps=1",
                           "--batch_size=2")
    assert done.status == 0, done.out + done.err
    assert "Recipe fsrnet: networks G 0.139 M" in done.out and re.search(r"Loss_Prior: [\d.]+", done.out)
    assert "6 faces in" in done.out and "2 to validate on" in done.out
    assert "(LR | coarse | SR | HR | parts | true parts)" in done.out
    assert CLOSING_BLOCK.search(done.out)["accuracy"] != "NA"


def test_built_in_faces_for_gpen(checkout, few_builtin_faces):
    done = checkout.script("train_performance_1p.sh", "--model=gpen", "--workers=0", "--train_steps=1",
                           "--batch_size=2")
    assert done.status == 0, done.out + done.err
    assert "Recipe gpen: networks G 0.286 M, D 0.092 M" in done.out and "(LR | SR | EMA | HR)" in done.out
    assert re.search(r"Loss_Path: [\d.]+\s+Loss_D: [\d.]+\s+Loss_R1: [\d.]+", done.out)
    assert CLOSING_BLOCK.search(done.out)["accuracy"] != "NA"


@pytest.mark.parametrize("argument", ["--data_path=no such", "--pth_path=no such"])
def test_a_wrong_path_costs_no_earlier_training(checkout, argument):
    earlier = checkout.output / "train_full_1p/best_net_G.pth"
    earlier.parent.mkdir(parents=True, exist_ok=True)
    earlier.touch()
    done = checkout.train("train_finetune_1p.sh", "--pth_path=tiny.yml", argument)
    assert done.status == 2 and done.out == ""
    assert done.err.startswith(f"error: {argument.split('=')[0]}: the f")
    assert f"{checkout.folder}/no such does not exist\n" in done.err and earlier.exists()


def test_a_failing_training_shows_its_log_and_its_status(checkout):
    broken = checkout.folder / "broken faces"
    broken.mkdir()
    for number in range(10):
        (broken / f"{number}.png").write_text("no image")
    done = checkout.train("train_full_1p.sh", f"--data_path={broken.name}")
    assert done.status == 1
    message = f"{broken}/"
    assert message in (checkout.output / "train_0.log").read_text()
    assert "---- last 30 lines of" in done.err and message in done.err
    assert "error: train_full_1p failed with exit status 1\n" in done.err and "Final result" not in done.out


@pytest.mark.parametrize("script, arguments, message", [
    ("train_full_1p.sh", ["--bach_size=2"], "unknown argument --bach_size=2; known: --data_path= --output_path="),
    ("train_full_1p.sh", ["extra"], "unknown argument extra; known: "),
    ("train_full_1p.sh", ["--data_path"], "--data_path has no value: write --data_path=VALUE"),
    ("train_full_1p.sh", ["--data_path="], "--data_path= has no value"),
    ("train_full_1p.sh", ["--device_id=../.."], "--device_id= must be a number from 0 to 9999, not '../..'"),
    ("train_performance_1p.sh", ["--precision_mode=O9"], "--precision_mode=O9 is not one of O0, O1, O2, must_keep"),
    ("train_eval_1p.sh", ["--train_steps=3"], "unknown argument --train_steps=3"),
    ("train_eval_1p.sh", [], "--pth_path=WEIGHTS.pth is required"),
    ("train_finetune_1p.sh", [], "--pth_path=WEIGHTS.pth is required"),
])
def test_wrong_arguments_are_one_line(checkout, script, arguments, message):
    done = checkout.script(script, *arguments)
    assert done.status == 2 and done.out == ""
    assert done.err.startswith(f"error: {message}") and len(done.err.splitlines()) == 1


@pytest.mark.parametrize("script", sorted(p.name for p in (ROOT / "test").glob("train_*.sh")))
def test_help(checkout, script):
    done = checkout.script(script, "--help")
    assert done.status == 0 and done.err == ""
    assert f"bash test/{script}" in done.out and "Arguments: --" in done.out


def test_env_npu_exports_ascend_settings_and_is_harmless_without_cann(checkout):
    done = checkout.finish(checkout.start("bash", "-euc", 'source "my repo/test/env_npu.sh"; export -p; echo "$-"',
                                          HCCL_CONNECT_TIMEOUT="7"))
    assert done.status == 0 and done.err == ""
    for setting in ('HCCL_WHITELIST_DISABLE="1"', 'TASK_QUEUE_ENABLE="2"', 'COMBINED_ENABLE="1"',
                    'ASCEND_GLOBAL_LOG_LEVEL="3"', 'ASCEND_SLOG_PRINT_TO_STDOUT="0"',
                    'ASCEND_GLOBAL_EVENT_ENABLE="0"', 'CPU_AFFINITY_CONF="2"', 'HCCL_CONNECT_TIMEOUT="7"'):
        assert f"declare -x {setting}\n" in done.out
    assert "u" in done.out.splitlines()[-1]


def test_modelarts_runs_the_performance_script_and_copies_the_results(checkout):
    script = checkout.repo / "test/train_performance_1p.sh"
    script.write_bytes(script.read_bytes().replace(b"\n", b"\r\n"))
    done = checkout.finish(checkout.start(
        "python3", "my repo/modelarts_entry_perf.py", f"--data_url={checkout.faces.name}", "--train_url=job/out",
        "--train_steps", "4", "--workers=0", f"--preset={checkout.folder}/tiny.yml", "--device_id=3",
        MODELARTS_MODEL_PATH="/model"))
    assert done.status == 0, done.out + done.err
    assert b"\r" not in script.read_bytes()
    assert f"Inputs in {checkout.faces}: 0" in done.out
    results = checkout.folder / "job/out"
    assert (results / "train_performance_1p/latest_net_G.pth").exists()
    options = yaml.safe_load((results / "train_performance_1p/options.yml").read_text())
    assert options["print_freq"] == 10 and options["train_steps"] == 4
    assert "CaseName = my repo_bs2_1p_perf\n" in (results / "3/my repo_bs2_1p_perf.log").read_text()
    assert "Loss_Pix:" in (results / "3/train_3.log").read_text()
    own = re.search(r"^Performance: .* images/sec, ([\d.]+) sec/step", done.out, re.MULTILINE)[1]
    block = CLOSING_BLOCK.search(done.out.split("Results: ")[0])
    assert float(block["step"]) == float(own)  # the run is too short for log lines that skip the first steps
    checkout.check_speed(block, 2)


def test_modelarts_job_fails_as_its_training_does(checkout):
    (checkout.folder / "nothing").mkdir()
    done = checkout.finish(checkout.start("python3", "my repo/modelarts_entry_acc.py", "--data_url=nothing",
                                          "--train_url=failed", MODELARTS_MODEL_PATH="/model", PATH=checkout.real_path))
    assert done.status == 2
    assert "Inputs in" in done.out and "nothing: none" in done.out
    assert f"below {checkout.folder}/nothing." in done.err
    assert not (checkout.folder / "failed/0").exists()  # an earlier run's files are not this job's results


def test_testcase(checkout):
    done = checkout.script("train_testcase.sh", "--workers=0")
    assert done.status == 0 and done.out.endswith("\nRun testcase success!\n"), done.out + done.err
    assert (checkout.output.parent / "testcase/train_testcase/best_net_G.pth").exists()
    done = checkout.script("train_testcase.sh", "--workers=x")
    assert done.status == 2 and done.out.endswith("Run testcase failed!\n") and "--workers" in done.err


def test_the_statement_lists_every_public_address():
    statement = (ROOT / "public_address_statement.md").read_text()
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    files = [p for part in (*packages, "test") for p in (ROOT / part).rglob("*.*")
             if p.suffix in (".py", ".sh", ".yml")]
    for path in [*files, *ROOT.glob("*.py"), *ROOT.glob("*.txt"), ROOT / "Makefile"]:
        for address in re.findall(r"https?://[^\s)\"'>]+", path.read_text()):
            assert f"| {path.relative_to(ROOT)} | {address} |" in statement


def test_level_file():
    levels = dict(line.split(":") for line in (ROOT / "modelzoo_level.txt").read_text().splitlines())
    assert list(levels) == ["GPUStatus", "NPUMigrationStatus", "FuncStatus", "PrecisionStatus", "AutoTune",
                            "PerfStatus"]
    assert set(levels.values()) <= {"PERFECT", "OK", "POK", "NOK"}


def test_another_recipe_by_its_name(checkout):
    """--model=sparnethd selects that recipe's defaults (data, losses and phases); the preset makes it small."""
    small = TINY_PRESET | {"model": "sparnethd", "load_size": 128, "min_feat_size": 16, "D_ch": 4, "D_max_ch": 8,
                    "D_layers": 2, "D_scales": 1, "lambda_pcp": 0, "channel_multiple": 1}
    (checkout.folder / "hd.yml").write_text(yaml.safe_dump(small))
    words = ["--preset=hd.yml", "--model=sparnethd", "--workers=0", f"--data_path={checkout.faces.name}"]
    done = checkout.script("train_full_1p.sh", *words, "--train_steps=6")
    assert done.status == 0, done.out + done.err
    assert CLOSING_BLOCK.search(done.out) and "Recipe sparnethd: networks G " in done.out
    run = checkout.output / "train_full_1p"
    assert yaml.safe_load((run / "options.yml").read_text())["gan_mode"] == "hinge"
    assert len((checkout.output / "my repo_bs2_1p_acc_loss.txt").read_text().split()) == 2
    weights = checkout.folder / "hd weights"
    weights.mkdir()
    for name in ("best_net_G.pth", "options.yml"):
        shutil.copy(run / name, weights)
    done = checkout.script("train_eval_1p.sh", f"--pth_path={weights.name}/best_net_G.pth",
                           f"--data_path={checkout.faces.name}", "--workers=0")
    assert done.status == 0, done.out + done.err
    assert CLOSING_BLOCK.search(done.out)["accuracy"] != "NA"
