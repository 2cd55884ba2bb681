# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Arguments of the scripts (test/arguments.sh), without running a program."""
import subprocess

import pytest

from tests.helpers.paths import ROOT


def parse(*words, script="train_full_1p.sh", names="$training_arguments", show="opt_level", env=()):
    """Returns (status, stdout, stderr) of parsing `words` as `script` does, then printing the variables in `show`."""
    shown = " ".join(f'"{name}=${name}"' for name in show.split())
    call = f'source {ROOT}/test/common.sh; eval "rank_size=$R"; parse_arguments "{names}" "$@"; printf "%s\\n" {shown}'
    done = subprocess.run(["bash", "-c", call, f"test/{script}", *words], capture_output=True, text=True,
                          env={"PATH": "/usr/bin:/bin", "HOME": "/home/me", "R": "8" if "8p" in script else "1",
                               **dict(env)})
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("words, expected", [
    ([], "opt_level= amp_dtype="),
    (["--precision_mode=O1"], "opt_level=O1 amp_dtype="),
    (["--precision_mode=must_keep_origin_dtype"], "opt_level=O0 amp_dtype="),
    (["--precision_mode=must_keep_fp32"], "opt_level=O0 amp_dtype="),
    (["--precision_mode=allow_fp32_to_fp16"], "opt_level=O1 amp_dtype="),
    (["--precision_mode=allow_mix_precision"], "opt_level=O2 amp_dtype="),
    (["--precision_mode=allow_mix_precision_bf16"], "opt_level=O2 amp_dtype=bfloat16"),
    (["--fp32"], "opt_level=O0 amp_dtype="), (["--fp32=True"], "opt_level=O0 amp_dtype="),
    (["--fp32=false"], "opt_level= amp_dtype="),
])
def test_precision(words, expected):
    status, out, err = parse(*words, show="opt_level amp_dtype")
    assert (status, err) == (0, "") and out.split() == expected.split()


@pytest.mark.parametrize("words, expected", [
    (["--profiling"], "10:12"), (["--profiling=True"], "10:12"), (["--profiling=CANN"], "10:12"),
    (["--profiling=false"], ""), ([], "")])
def test_profiling_names_the_steps(words, expected):
    assert parse(*words, show="profile_steps") == (0, f"profile_steps={expected}\n", "")


def test_arguments_of_other_modelzoo_scripts_are_named_in_one_line():
    status, out, err = parse("--conda_name=py37", "--over_dump", "--data_dump_flag=False", "--train_steps=3",
                             show="train_steps")
    assert (status, err) == (0, "")
    assert out == ("Not used by this project, ignored: --conda_name --over_dump --data_dump_flag\ntrain_steps=3\n")
    assert parse("--hf32")[1].startswith("--hf32: computes in float32 (O0);")


@pytest.mark.parametrize("words, ranks", [([], 8), (["--world_size=2"], 2), (["--rank_size=2"], 2),
                                          (["--rank_size=02", "--world_size=2"], 2)])
def test_the_world_size_is_the_number_of_devices(words, ranks):
    status, out, err = parse(*words, script="train_full_8p.sh", names="rank_size $training_arguments",
                             show="RANK_SIZE ASCEND_DEVICE_ID", env={"ASCEND_DEVICE_ID": "3"}.items())
    assert (status, out, err) == (0, f"RANK_SIZE={ranks}\nASCEND_DEVICE_ID=0\n", "")


def test_several_hosts():
    names = "$several_hosts $several_devices $training_arguments"
    words = ["--nnodes=4", "--node_rank=3", "--master_addr=a"]
    assert parse(*words, "--world_size=32", names=names, show="RANK_SIZE rank_size")[1] == "RANK_SIZE=32\nrank_size=8\n"
    assert "is not a multiple of --nnodes=4" in parse(*words, "--world_size=6", names=names)[2]
    assert "--node_rank= must be a number from 0 to 3, not '4'" in parse(*words, "--node_rank=4", names=names)[2]
    assert "rank_size= must be a number from 1 to 128" in parse(*words, "--rank_size=99999999", names=names)[2]


@pytest.mark.parametrize("words, message", [
    (["--unknown=1"], "unknown argument --unknown=1; known: --data_path="),
    (["--"], "unknown argument --; known"), ([""], "unknown argument ; known"),
    (["--data_path=a", "two\nlines"], "unknown argument two?lines; known"),
    (["--model"], "--model has no value: write --model=VALUE"),
    (["--world_size=2"], "--world_size=2: train_full_1p.sh uses one device"),
    (["--world_size=0"], "--world_size= must be a number from 1"),
    (["--device_id=1e3"], "--device_id= must be a number from 0 to 9999, not '1e3'"),
    (["--profiling=maybe"], "--profiling=maybe is neither true nor false"),
    (["--fp32", "--precision_mode=O2"], "--fp32 and --precision_mode=O2 contradict each other"),
    (["--opt_level=O1"], "unknown argument --opt_level=O1"),
    (["--PATH=x"], "unknown argument --PATH=x"), (["--rank_size=2"], "unknown argument --rank_size=2"),
])
def test_wrong_arguments_are_one_line(words, message):
    status, out, err = parse(*words)
    assert status == 2 and out == "" and err.startswith(f"error: {message}") and err.count("\n") == 1


def test_a_wrong_device_in_the_environment_is_named():
    for value in ("x", " ", "-1", "99999"):
        assert parse(env={"ASCEND_DEVICE_ID": value}.items())[2] == (
            f"error: the environment variable ASCEND_DEVICE_ID must be a number from 0 to 9999, not '{value}'\n")
    assert parse("--device_id=2", show="ASCEND_DEVICE_ID", env={"ASCEND_DEVICE_ID": "x"}.items())[0] == 0


def test_another_launchers_variables_are_not_used():
    env = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "", "RANK_TABLE_FILE": "/table.json"}
    status, out, err = parse(show="{RANK-none} {RANK_TABLE_FILE-none}", env=env.items())
    assert (status, err) == (0, "") and out.startswith(
        "Not used, because this script starts all processes by itself: RANK WORLD_SIZE MASTER_ADDR RANK_TABLE_FILE\n")
    assert out.count("=none") == 2


def test_a_message_is_never_long():
    status, _, err = parse("--data_path=" + "x" * 100_000, "--no_such")
    assert status == 2 and "unknown argument --no_such" in err
    assert len(parse("--" + "x" * 100_000)[2]) < 1100


@pytest.mark.parametrize("given, path", [("a b/*", "{cwd}/a b/*"), ("/x\n", "/x\n"), ("~/f", "/home/me/f"),
                                         ("-x", "{cwd}/-x")])
def test_paths_start_at_the_callers_folder(given, path):
    cwd = subprocess.run(["pwd"], capture_output=True, text=True).stdout.strip()
    assert parse(f"--data_path={given}", show="data_path")[1] == f"data_path={path.format(cwd=cwd)}\n"
