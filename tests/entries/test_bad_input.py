# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Each invalid input gives one line on stderr and a non-zero exit status: no traceback, no silent run."""
import os
import re
import subprocess

import pytest
import torch

from engine import checkpoint, tester
from engine.logger import read_metrics
from options.test_options import parse_test
from tests.helpers.faces import write_faces
from tests.helpers.paths import ROOT
from tests.helpers.processes import HUNG
from tests.helpers.runs import TINY
from tests.helpers.warm_python import warm_python
from utils.errors import UserError


def program(name, *words, **env):
    done = subprocess.run([warm_python(), str(ROOT / name), *map(str, words)], capture_output=True, text=True,
                          env=os.environ | env, timeout=HUNG)
    assert "Traceback" not in done.stderr + done.stdout, done.stderr
    return done


@pytest.mark.parametrize("words, message", [
    (["--dataroot", "/nowhere"], "error: --dataroot: the folder /nowhere does not exist."),
    (["--total_epochs", "0"], "error: argument --total_epochs: 0 is below 1"),
    (["--print_frek", "3"], "error: unknown option --print_frek. Did you mean --print_freq?"),
])
def test_the_program_says_it_in_one_line(words, message):
    done = program("newtrain.py", *words)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith(message) and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("words, message", [
    (["--batch_size", "11"], "--batch_size 11 times --accumulate 1 is more than the 10 images"),
    (["--device", "npu"], "--device npu: .*(torch_npu|NPU).*--device auto"),
    (["--device", "cuda"], "--device cuda: .*CUDA.*--device auto"),
    (["--device", "tpu"], "--device tpu: unknown device.*auto, npu, cuda, cpu"),
    (["--dataset_name", "celebb"], "Did you mean celeba"),
    (["--dataset_name", "single"], "--dataset_name single is for restoring"),
    (["--valroot", "/nowhere"], "--valroot: the folder /nowhere does not exist"),
    (["--val_count", "6"], "--val_count 6: the dataroot has only 10 images"),
    (["--name", "../x"], "--name '../x' must be a plain folder name"),
    (["--continue_train"], "--continue_train: no checkpoint"),
    (["--pth_path", "/nowhere.pth"], "/nowhere.pth"),
    (["--load_size", "100"], "--load_size 100 is not a multiple"),
    (["--load_size", "16"], "network"),
    (["--load_size", "48"], "network"),
    (["--bottleneck_size", "3"], "bottleneck_size"),
    (["--sync_bn", "--Gnorm", "in"], "--sync_bn: the networks of this training have no batch norm"),
    (["--train_steps", "2", "--min_size", "64"],
     "images are bad, more than 1 %.*40x40 pixels, smaller than --min_size 64"),
])
def test_training_refuses(train, words, message):
    if words == ["--device", "cuda"] and torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(UserError, match=message) as error:
        train(*words)
    assert error.value.status and "\n" not in str(error.value)


def test_dataroot_may_be_missing_empty_or_a_file(train, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for name, message in [("gone", "does not exist"), ("empty", "no images"), ("file", "is a file")]:
        with pytest.raises(UserError, match=f"--dataroot: .*{message}"):
            train("--train_steps", 1, dataroot=tmp_path / name)


def test_an_unwritable_output_folder(train, tmp_path):
    (tmp_path / "blocked").write_text("a file stands where the folder should be")
    with pytest.raises(UserError, match="--checkpoints_dir: cannot write into"):
        train("--checkpoints_dir", tmp_path / "blocked")


def test_small_images_are_enlarged_with_a_warning(train, tmp_path, capsys):
    folder = write_faces(tmp_path / "small", 4, size=(20, 20))
    assert train("--train_steps", 1, dataroot=folder)[0] == 0
    out = capsys.readouterr().out
    assert out.count("warning: ") == 1 and "smaller than --load_size and is enlarged" in out
    assert "Images smaller than --load_size, enlarged: 3" in out


def test_checkpoints_of_another_network_are_refused_readably(train, tmp_path):
    _, first = train("--train_steps", 1, name="first")
    with pytest.raises(UserError, match="(?s)shape.*encoder"):
        train("--train_steps", 1, "--max_ch", 16, "--pth_path", first / "latest_net_G.pth", name="second")
    with pytest.raises(UserError, match="(?s)another network.*encoder"):
        train("--train_steps", 3, "--max_ch", 16, "--continue_train", name="first")
    (tmp_path / "torn.pth").write_bytes((first / "latest_net_G.pth").read_bytes()[:5000])
    with pytest.raises(UserError, match="torn.pth"):
        train("--train_steps", 1, "--pth_path", tmp_path / "torn.pth", name="third")


@pytest.mark.parametrize("damage", [
    lambda path: path.write_bytes(path.read_bytes()[:10000]),
    lambda path: path.write_bytes(bytes(b ^ (i == 20000) for i, b in enumerate(path.read_bytes()))),
    lambda path: path.unlink()], ids=["cut short", "a bit flipped", "deleted"])
def test_without_the_newest_checkpoint_the_one_before_is_taken(train, capsys, damage):
    words = ["--train_steps", 6, "--save_latest_freq", 2]
    _, whole = train(*words, name="whole")
    _, folder = train("--train_steps", 4, "--save_latest_freq", 2)
    newest = checkpoint.list_states(folder)[-1]
    damage(newest)
    warnings = int(newest.exists())
    capsys.readouterr()
    assert train(*words, "--continue_train")[0] == 0
    out = capsys.readouterr().out
    assert "Continuing after step 2 of 6" in out
    assert len(re.findall(r"^warning: .*state_00000004.pth is corrupted \(.+\); continuing", out, re.M)) == warnings
    assert [r["step"] for r in read_metrics(folder)] == [2, 4, 6]  # step 4's record is written again
    weights = [torch.load(f / "latest_net_G.pth", weights_only=True) for f in (whole, folder)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_failing_run_ends_although_workers_still_have_work(tmp_path):
    folder = write_faces(tmp_path / "faces", 60)
    (folder / "030.png").write_bytes(b"broken")
    words = [*TINY, "--workers", 2, "--dataroot", folder, "--checkpoints_dir", tmp_path, "--total_epochs", 50]
    done = program("newtrain.py", *words, "--on_bad_image", "stop")  # a hang would exceed the timeout
    assert done.returncode == 1 and "error: bad image (and --on_bad_image stop): " in done.stderr


@pytest.mark.parametrize("words, message", [
    ([], "which weights\\? Give --pth_path FILE or --pretrained NAME"),
    (["--pretrained", "no_such"], "--pretrained no_such: there are no such weights"),
    (["--pretrained", "sparnet", "--pth_path", "gone.pth"], "contradict each other"),
    (["--pth_path", "gone.pth", "--gtroot", "."], "gone.pth"),
    (["--pth_path", "gone.pth"], "nothing to do"),
    (["--pretrained", "sparnet", "--gtroot", "/nowhere"], "--gtroot: the folder"),
])
def test_newtest_refuses(tmp_path, faces, monkeypatch, words, message):
    monkeypatch.chdir(faces)
    with pytest.raises(UserError, match=message) as error:
        tester.Tester(parse_test([*words, "--results_dir", str(tmp_path)]))
    assert error.value.status == 2 and "\n" not in str(error.value)


def test_newtest_says_it_in_one_line():
    done = program("newtest.py")
    assert done.returncode == 2 and re.fullmatch("error: which weights[?] .*\n", done.stderr)
