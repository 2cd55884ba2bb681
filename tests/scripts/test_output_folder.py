# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The scripts' output folder: its lock, what is refused before it is touched, and moving an earlier run aside."""
import os
import shutil
import signal
import sys

import pytest

from tests.helpers.faces import write_faces
from tests.helpers.processes import wait_until
from tests.helpers.runs import TINY
from tests.helpers.scripts import Checkout
from tools.check_run import main as check_run
from utils.errors import UserError
from utils.folder_lock import only_writer
from utils.links import find_way_into, leads_into

OPEN = 'source "my repo/test/common.sh"; parse_arguments "$training_arguments" '


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return Checkout(tmp_path_factory.mktemp("output [folder]*"))


@pytest.fixture
def output(checkout):
    """Yields test/output/0 with a file in it; removes test/output afterwards."""
    checkout.output.mkdir(parents=True)
    (checkout.output / "best_net_G.pth").write_text("earlier")
    yield checkout.output
    root = checkout.repo / "test/output"
    if root.is_symlink():
        root.unlink()
    else:
        shutil.rmtree(root)


def snapshot(*folders):
    return {path: os.readlink(path) if path.is_symlink() else path.is_file() and path.read_bytes()
            for folder in folders for path in folder.rglob("*")}


def bash(checkout, words, **env):
    return checkout.finish(checkout.start("bash", "-c", words, "test/train_full_1p.sh", **env))


# -- moving aside ---------------------------------------------------------------------------------------------------

def test_earlier_runs_are_moved_aside_and_never_overwritten(checkout, output):
    for number, name in ((1, "0.previous"), (2, "0.previous.2"), (3, "0.previous.3")):
        (output / "best_net_G.pth").write_text(str(number))
        done = bash(checkout, f"{OPEN}; open_output; choose_replaced; move_aside")
        assert done.status == 0, done.err
        assert done.out == f"What an earlier run left in {output} is now in {output.parent / name}\n"
        assert not any(output.iterdir())
        assert (output.parent / name / "best_net_G.pth").read_text() == str(number)
    assert bash(checkout, f"{OPEN}; open_output; choose_replaced; move_aside").out == ""  # nothing in it
    assert not list(output.parent.glob("*.lock"))


def test_a_linked_device_folder_keeps_what_it_leads_to(checkout, output, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/a").write_text("kept")
    (output.parent / "5").symlink_to(tmp_path / "elsewhere")
    (output.parent / "5.previous").symlink_to(tmp_path / "nothing")  # also a dangling link is not overwritten
    done = bash(checkout, f"{OPEN} --device_id=5; open_output; choose_replaced; move_aside")
    assert done.status == 0, done.err
    assert (output.parent / "5.previous.2").readlink() == tmp_path / "elsewhere"
    assert (tmp_path / "elsewhere/a").read_text() == "kept" and not (output.parent / "5").is_symlink()


def test_a_linked_output_folder_loses_nothing(checkout, tmp_path):
    (tmp_path / "0").mkdir()
    (tmp_path / "0/a").write_text("kept")
    (checkout.repo / "test/output").symlink_to(tmp_path)
    done = bash(checkout, f"{OPEN}; open_output; choose_replaced; move_aside")
    (checkout.repo / "test/output").unlink()
    assert done.status == 0, done.err
    assert (tmp_path / "0.previous/a").read_text() == "kept" and f"is now in {tmp_path}/0.previous" in done.out


def test_weights_in_the_folder_stay_where_they_are(checkout, output):
    for name in ("train_0.log", "a_loss.txt"):
        (output / name).write_text("earlier")
    (output / "train_full_1p").mkdir()
    (output / "train_full_1p/x").touch()
    weights = {"W": f"{output}/best_net_G.pth"}
    done = bash(checkout, f"{OPEN}; pth_path=$W; open_output; choose_replaced; move_aside", **weights)
    assert done.status == 0, done.err
    assert {path.name for path in output.iterdir()} == {"best_net_G.pth", "train_0.log.previous", "a_loss.txt.previous",
                                                        "train_full_1p.previous"}
    assert len(done.out.splitlines()) == 3


# -- the lock -------------------------------------------------------------------------------------------------------

def test_a_second_script_is_told_who_holds_the_folder(checkout, output):
    holder = checkout.start("bash", "-c", f"{OPEN}; open_output; kill -STOP $$", "test/train_performance_1p.sh")
    lock = output.parent / "0.lock"
    wait_until(lambda: lock.exists() and lock.read_text(), holder)
    before = snapshot(output.parent)
    for script in ("train_full_1p.sh", "train_eval_8p.sh --pth_path=tiny.yml", "train_performance_8p.sh"):
        name, *words = script.split()
        done = checkout.script(name, *words, f"--data_path={checkout.faces}")
        assert done.status == 2 and done.out == "" and len(done.err.splitlines()) == 1
        assert f"{output} is in use by train_performance_1p (process {holder.pid}, since 20" in done.err
    assert snapshot(output.parent) == before
    assert bash(checkout, f"{OPEN} --device_id=1; open_output").status == 0  # another device
    holder.send_signal(signal.SIGKILL)
    checkout.finish(holder)
    assert bash(checkout, f"{OPEN}; open_output").status == 0  # released by the kernel
    assert not lock.exists()


def test_a_second_script_with_the_same_output_path_is_told_before_anything_is_moved(checkout, output):
    holder = checkout.start("bash", "-c", f"{OPEN} --device_id=3 --output_path=shared; open_output; kill -STOP $$",
                            "test/train_full_1p.sh")
    wait_until(lambda: any(lock.read_text() for lock in output.parent.glob("output_path_*.lock")), holder)
    before = snapshot(output.parent)
    same = checkout.script("train_full_1p.sh", f"--data_path={checkout.faces}", "--output_path=shared/")
    assert same.status == 2 and len(same.err.splitlines()) == 1 and same.out == ""
    assert f"shared//train_full_1p is in use by train_full_1p (process {holder.pid}, since 20" in same.err
    assert "or use another --output_path=, device or copy" in same.err and snapshot(output.parent) == before
    holder.send_signal(signal.SIGKILL)
    checkout.finish(holder)
    done = bash(checkout, f"{OPEN} --output_path=shared; open_output")
    assert done.status == 0 and not list(output.parent.glob("output_path_*"))


# -- refusals -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("script, words, message", [
    ("train_full_1p.sh", ["--batch_size=3O"], "invalid int value: '3O'"),
    ("train_performance_8p.sh", ["--batch_size=30", "--rank_size=2"], "on 2 devices is more than the 36 images"),
    ("train_eval_1p.sh", ["--pth_path=tiny.yml"], "tiny.yml"),
])
def test_what_the_program_refuses_changes_nothing(checkout, output, script, words, message):
    before = snapshot(output.parent, checkout.faces)
    done = checkout.train(script, f"--data_path={checkout.faces}", *words)
    assert done.status == 2 and message in done.err and len(done.err.splitlines()) == 1
    assert snapshot(output.parent, checkout.faces) == before


def test_the_first_call_leaves_nothing_if_it_is_refused(checkout):
    done = checkout.train("train_full_1p.sh", "--data_path=no such")
    assert done.status == 2 and not (checkout.repo / "test/output").exists()


def test_a_python_without_the_packages_is_one_line(checkout, output, tmp_path):
    before = snapshot(output.parent)
    for name in ("bash", "dirname", "basename"):
        (tmp_path / name).symlink_to(shutil.which(name))
    for message in ("there is no python3 in PATH", "lacks the packages torch,numpy,PIL,cv2"):
        done = checkout.train("train_full_1p.sh", f"--data_path={checkout.faces}", PATH=str(tmp_path))
        assert done.status == 2 and message in done.err and len(done.err.splitlines()) == 1, done.err
        assert snapshot(output.parent) == before
        (tmp_path / "python3").write_text(f"#!/bin/bash\nexec {os.path.realpath(sys.executable)} -S -I \"$@\"\n")
        (tmp_path / "python3").chmod(0o755)


@pytest.fixture
def place(tmp_path):
    """Returns a folder with faces, an output folder `0` to be moved, and links from one to the other."""
    moved = tmp_path / "out [1]*" / "0"
    write_faces(moved / "faces", 2)
    write_faces(tmp_path / "faces", 4)
    write_faces(tmp_path / "far/nested/faces", 1)
    (tmp_path / "link").symlink_to(moved.parent)
    (tmp_path / "second link").symlink_to("link/0/faces")
    (tmp_path / "far/nested/more").symlink_to(tmp_path / "second link")
    (moved / "back").symlink_to(tmp_path / "faces")
    (tmp_path / "through").symlink_to(moved / "back")  # leads out again, but is broken by the move
    write_faces(tmp_path / "single", 2)
    (tmp_path / "single/9.png").symlink_to(moved / "faces/000.png")
    (moved / "mine.yml").write_text("batch_size: 1\n")
    (tmp_path / "valroot.yml").write_text(f"valroot: {moved}/faces\n")
    (tmp_path / "like.yml").write_text(f"like: {moved}/mine.yml\n")
    (moved / "w.pth").touch()
    return tmp_path


@pytest.mark.parametrize("words, option", [
    (["--data_path", "out [1]*/0"], "--data_path"), (["--data_path", "out [1]*/0/faces/"], "--data_path"),
    (["--data_path", "out [1]*"], "--data_path"), (["--data_path", "link/0/../0/faces"], "--data_path"),
    (["--data_path", "second link"], "--data_path"), (["--data_path", "far"], "--data_path"),
    (["--data_path", "through"], "--data_path"), (["--data_path", "single"], "--data_path"),
    (["--preset", "out [1]*/0/mine.yml"], "--preset"), (["--preset", "valroot.yml"], "--valroot"),
    (["--preset", "like.yml"], "--preset"), (["--pth_path", "link/0/w.pth"], "--pth_path"),
    (["--output_path", "out [1]*/0/keep"], "--output_path"), (["--output_path", "link/0/keep/"], "--output_path"),
    (["--output_path", "out [1]*/0.previous"], "--output_path"),
])
def test_nothing_that_the_run_needs_is_carried_away(place, monkeypatch, words, option):
    monkeypatch.chdir(place)
    before = snapshot(place)
    with pytest.raises(UserError, match=f"^{option}: .* (leads|contains) .*, which this script moves aside") as error:
        check_run(["--moved=out [1]*/0", "--to=out [1]*/0.previous", "newtrain.py", *TINY,
                   "--data_path=faces", *words])
    assert "\n" not in str(error.value)
    assert snapshot(place) == before


def test_a_run_that_needs_nothing_there_is_accepted(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    (place / "around").symlink_to("around")  # a link to itself among the faces
    (place / "faces/loop").symlink_to(place / "faces")
    before = snapshot(place)
    assert check_run(["--moved=out [1]*/0", "newtrain.py", *TINY, "--data_path=faces", "--output_path=out [1]*/0",
                      "--val_count=1"]) == 0
    assert capsys.readouterr().out == "cpu\n" and snapshot(place) == before
    assert not leads_into("around", str(place / "out [1]*/0")) and not find_way_into("none", str(place / "0"))


def test_an_output_that_cannot_be_used_is_refused(tmp_path, faces):
    call = ["newtrain.py", *TINY, f"--data_path={faces}", "--name=run"]
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=f"--output_path: cannot write into {tmp_path}/file"):
        check_run([*call, f"--output_path={tmp_path}/file/deeper"])
    (tmp_path / "run").mkdir()
    with only_writer(tmp_path / "run", "--name"):  # e.g. a script on another device with the same --output_path
        before = snapshot(tmp_path)
        with pytest.raises(UserError, match=f"run is in use: process {os.getpid()} on .*choose another --output_path="):
            check_run([*call, f"--output_path={tmp_path}"])
        assert snapshot(tmp_path) == before
    (tmp_path / "run/state_0000001.pth").touch()
    with pytest.raises(UserError, match="run contains an earlier run: choose another --output_path="):
        check_run([*call, f"--output_path={tmp_path}"])
    (tmp_path / "run/state_0000001.pth").rename(tmp_path / "run/best_net_G.pth")  # its states were removed
    with pytest.raises(UserError, match="run contains an earlier run: choose another --output_path="):
        check_run([*call, f"--output_path={tmp_path}"])


@pytest.mark.parametrize("data", ["run/restored", "link", "run"])
def test_nothing_that_the_run_reads_is_overwritten(tmp_path, data):
    write_faces(tmp_path / "run/restored", 2)
    (tmp_path / "link").symlink_to("run/restored")
    (tmp_path / "weights.pth").touch()
    before = snapshot(tmp_path)
    with pytest.raises(UserError, match="--data_path: .* leads into .*run, into which this run writes: choose another"):
        check_run(["newtest.py", f"--gtroot={tmp_path / data}", f"--results_dir={tmp_path}", "--name=run",
                   f"--pth_path={tmp_path}/weights.pth"])
    assert snapshot(tmp_path) == before


def test_a_folder_around_the_output_is_not_searched(tmp_path, monkeypatch):
    def scan(folder):
        raise AssertionError(f"searched {folder}")
    monkeypatch.setattr(os, "scandir", scan)
    (tmp_path / "link").symlink_to("/")
    for path in ("/", tmp_path / "link", tmp_path):
        assert find_way_into(path, f"{tmp_path}/a/0") == f"{tmp_path}/a/0"
