# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""utils/modelarts.py: which script a platform's variables start, and arguments that it refuses."""
import errno
import os

import pytest

from utils.errors import UserError
from utils.modelarts import choose_script, join_pairs, make_line_ends_unix, run_job

HOSTS = {"MA_NUM_HOSTS": "2", "VC_TASK_INDEX": "1", "VC_WORKER_HOSTS": "first.svc,second.svc", "RANK_SIZE": "16"}


@pytest.mark.parametrize("env, script, words", [
    ({}, "train_full_1p.sh", []),
    ({"ASCEND_DEVICE_ID": "3"}, "train_full_1p.sh", []),
    ({"RANK_SIZE": "1", "ASCEND_DEVICE_ID": "3"}, "train_full_1p.sh", []),
    ({"RANK_SIZE": "8", "ASCEND_DEVICE_ID": "0"}, "train_full_8p.sh", ["--rank_size=8"]),
    ({"RANK_SIZE": "8", "ASCEND_DEVICE_ID": "7"}, None, []),
    (HOSTS | {"ASCEND_DEVICE_ID": "1"}, None, []),
    (HOSTS | {"ASCEND_DEVICE_ID": "0"}, "train_full_multinodes.sh",
     ["--nnodes=2", "--node_rank=1", "--master_addr=first.svc", "--rank_size=8"]),
])
def test_card_0_of_each_host_starts_one_training(env, script, words):
    assert choose_script("full", env) == (script, words)


@pytest.mark.parametrize("change, message", [
    ({"RANK_SIZE": "x"}, "RANK_SIZE must be a number from 1, not 'x'"), ({"RANK_SIZE": "15"}, "is not a multiple of"),
    ({"VC_TASK_INDEX": ""}, "VC_TASK_INDEX must be"), ({"VC_WORKER_HOSTS": ""}, "VC_WORKER_HOSTS names 0 hosts"),
    ({"VC_WORKER_HOSTS": "first.svc"}, "VC_WORKER_HOSTS names 1 hosts"),
    ({"MA_NUM_HOSTS": "2", "RANK_SIZE": "1"}, "RANK_SIZE=1 is not a multiple of MA_NUM_HOSTS=2"),
    ({"RANK_SIZE": "9" * 5000}, "RANK_SIZE must be a number from 1"),
    ({"VC_TASK_INDEX": "2"}, "VC_TASK_INDEX must be a number from 0 to 1, not '2'"),
    ({"ASCEND_DEVICE_ID": "8"}, "ASCEND_DEVICE_ID must be a number from 0 to 7, not '8'"),
    ({"RANK_SIZE": "8\n\x1b"}, "not .8.n.x1b"),
])
def test_wrong_variables(change, message):
    with pytest.raises(UserError, match=message):
        choose_script("full", HOSTS | change)


@pytest.mark.parametrize("words", [["--data_url="], ["--data_url", ""], ["--train_url= "]])
def test_an_empty_argument_is_no_folder(words):
    with pytest.raises(UserError, match=f"argument {words[0].split('=')[0]}: the value is empty"):
        run_job("full", words)


def test_what_the_script_would_misread_is_refused_first(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.modelarts.run", lambda command: pytest.fail("started"))
    (tmp_path / "file").touch()
    for words, message in ((["--train_url", f"{tmp_path}/file"], "--train_url: .*file is not a folder"),
                           (["--data_path", "x"], "--data_path: give --data_url in place of --data_path"),
                           (["--output_path=x"], "--output_path=x: give --train_url in place of")):
        with pytest.raises(UserError, match=message):
            run_job("full", words)


def test_values_are_joined_with_their_names_only():
    assert join_pairs(["--a", "1", "--b=2", "3", "--c", "--d", "-4"]) == ["--a=1", "--b=2", "3", "--c", "--d=-4"]
    assert join_pairs(["x", "y"]) == ["x", "y"]


def test_a_full_disk_costs_no_script(tmp_path, monkeypatch):
    (tmp_path / "a.sh").write_bytes(b"#!/bin/bash\r\n")

    def full(*names):
        raise OSError(errno.ENOSPC, "No space left on device")
    with monkeypatch.context() as patch, pytest.raises(UserError, match="a.sh: No space left.* dos2unix"):
        patch.setattr("os.replace", full)
        make_line_ends_unix(tmp_path)
    assert (tmp_path / "a.sh").read_bytes() == b"#!/bin/bash\r\n"
    (tmp_path / "a.sh").chmod(0o755)
    make_line_ends_unix(tmp_path)
    assert os.access(tmp_path / "a.sh", os.X_OK)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"#!/bin/bash\n"]
