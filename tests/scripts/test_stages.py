# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The scripts at each of their stages, with a stand-in for python3: signals, the caller's shell, locks, full disks."""
import os
import shutil
import signal
import subprocess
import time
from types import SimpleNamespace

import pytest

from tests.helpers.paths import ROOT
from tests.helpers.processes import HUNG, wait_until

# Does at once what the scripts expect of each program. $STALL is the program that first waits, for a signal.
STAND_IN = """#!/bin/bash
for word in tools.check_run data.drawn.builtin_faces utils.launch newtrain.py; do
    [[ " $* " != *" $word "* ]] || program=${program-$word}
done
if [ "${STALL-}" = "${program-}" ]; then
    trap 'echo stopped; exit 143' TERM
    trap 'echo stopped; exit 130' INT
    echo "$$" >"$STALLS"
    for ((i = 0; i < 6000; i++)); do sleep 0.05; done
fi
case ${program-} in
    tools.check_run) echo cpu ;;
    newtrain.py | utils.launch)
        for word in "$@"; do
            case $word in --checkpoints_dir=*) folder=${word#*=} ;; --name=*) name=${word#*=} ;; esac
        done
        mkdir -p "$folder/$name"
        printf 'batch_size: 2\\naccumulate: 1\\n' >"$folder/$name/options.yml"
        echo "Performance: 6.99 images/sec, 0.285981 sec/step"
        echo "Accuracy: 17.1 dB"
        ;;
    "") echo 40 ;;  # number of faces
esac
"""


class Place:
    """A folder with test/ of a checkout, faces, and the stand-in."""

    def __init__(self, folder):
        self.folder, self.output = folder, folder / "my repo/test/output"
        shutil.copytree(ROOT / "test", folder / "my repo/test", ignore=shutil.ignore_patterns("output"))
        (folder / "faces").mkdir()
        (folder / "bin").mkdir()
        (folder / "bin/python3").write_text(STAND_IN)
        (folder / "bin/python3").chmod(0o755)

    def start(self, script, *words, shell=("bash",), stall="none", **env):
        path = env.pop("PATH", os.environ["PATH"])
        env = {"PATH": f"{self.folder}/bin:{path}", "HOME": "/home/me", "ASCEND_DEVICE_ID": "0", "STALL": stall,
               "STALLS": str(self.folder / "stalls")} | env
        return subprocess.Popen([*shell, f"my repo/test/{script}", *words], cwd=self.folder, env=env, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def stall(self, program, *call):
        """Returns the process of a script that waits for `program`."""
        process = self.start(*call, stall=program)
        note = self.folder / "stalls"
        wait_until(lambda: note.exists() and note.read_text(), process)
        self.stalled = int(note.read_text())
        note.unlink()
        return process

    @staticmethod
    def finish(process):
        out, err = process.communicate(timeout=HUNG)
        return SimpleNamespace(status=process.returncode, out=out, err=err)

    def run(self, *call, **options):
        return self.finish(self.start(*call, **options))

    def names(self):
        return sorted(path.name for path in self.output.iterdir()) if self.output.exists() else None


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


FULL = ("train_full_1p.sh", "--data_path=faces")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("program, script, kept", [
    ("data.drawn.builtin_faces", "train_testcase.sh", None), ("tools.check_run", "train_testcase.sh", None),
    ("tools.check_run", "train_performance_8p.sh", None), ("newtrain.py", "train_testcase.sh", ["testcase"])])
def test_a_signal_ends_every_stage_in_order(place, number, program, script, kept):
    """One of these was once ignored by the check, and two made it print `Run testcase success!`."""
    process = place.stall(program, script)
    for _ in range(4 if kept is None else 2):  # again, while the first is handled; of dozens bash itself loses track
        process.send_signal(number)
        time.sleep(0.001)
    done = place.finish(process)
    assert done.status == (130 if number == signal.SIGINT else 143)
    assert done.err.startswith("error: " if kept is None else "train_testcase was stopped (exit status 1")
    assert done.out.endswith("Run testcase failed!\n") == (script == "train_testcase.sh")
    assert "success" not in done.out and place.names() == kept


def test_a_killed_script_leaves_the_lock_to_what_it_started(place):
    process = place.stall("newtrain.py", *FULL)
    process.kill()
    process.wait(HUNG)
    assert f"is in use by train_full_1p (process {process.pid}, since" in place.run(*FULL).err
    os.kill(place.stalled, signal.SIGKILL)
    place.finish(process)  # returns when tee, the last writer of its output, has ended
    assert place.run(*FULL).status == 0


def test_two_scripts_on_one_device_of_several_are_refused(place):
    one = place.stall("newtrain.py", *FULL, "--device_id=3")
    before = place.names()
    done = place.run("train_full_8p.sh", "--data_path=faces")
    assert done.status == 2 and f"output/3 is in use by train_full_1p (process {one.pid}" in done.err
    assert done.out == "" and done.err.count("\n") == 1 and place.names() == before
    assert place.run("train_full_8p.sh", "--data_path=faces", "--rank_size=3").status == 0
    one.terminate()
    assert place.finish(one).status == 143
    several = place.stall("utils.launch", "train_full_8p.sh", "--data_path=faces")
    assert f"(process {several.pid}" in place.run(*FULL, "--device_id=7").err
    assert place.run(*FULL, "--device_id=8").status == place.run("train_testcase.sh").status == 0
    several.terminate()
    assert place.finish(several).status == 143
    assert place.names() == ["0", "0.previous", "3", "8", "testcase"]


@pytest.mark.parametrize("make", [lambda path, kept: path.symlink_to(kept), lambda path, kept: os.mkfifo(path),
                                  lambda path, kept: path.mkdir()])
def test_a_lock_never_writes_into_something_else(place, make):
    kept = place.folder / "kept"
    kept.write_text("kept")
    place.output.mkdir()
    make(place.output / "0.lock", kept)
    done = place.run(*FULL)
    assert done.status == 2 and "0.lock is no lock of this script: remove it" in done.err
    assert kept.read_text() == "kept" and place.names() == ["0.lock"]


def test_a_missing_flock_is_not_another_script(place):
    tools = place.folder / "tools"
    tools.mkdir()
    for name in ("bash", "basename", "dirname", "mkdir", "rm", "rmdir", "readlink"):
        (tools / name).symlink_to(shutil.which(name))
    done = place.run(*FULL, PATH=str(tools), shell=(str(tools / "bash"),))
    assert done.status == 2 and "cannot lock" in done.err and "command not found: flock (of util-linux)" in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("options", [
    {"shell": ("sh",)}, {"POSIXLY_CORRECT": "1"}, {"SHELLOPTS": "errexit:noclobber:noglob"}, {"TMPDIR": "/nonexistent"},
    {"BASHOPTS": "nullglob:failglob"}, {"CDPATH": "/:/tmp"}, {"LC_ALL": "C"}])
def test_the_callers_shell_changes_nothing(place, options):
    done = place.run(*FULL, **options)
    assert (done.status, done.err) == (0, "") and done.out.endswith("Final Train Accuracy : 17.1\n")
    assert place.names() == ["0"]


def test_upper_case_is_another_argument_in_every_shell(place):
    done = place.run(*FULL, "--DATA_PATH=other", BASHOPTS="nocasematch")
    assert done.status == 2 and "unknown argument --DATA_PATH=other" in done.err


@pytest.mark.parametrize("streams", [">&-", "<&-", "2>&-", "<&- >&- 2>&-", "| head -n 1"])
def test_a_closed_console_ends_nothing(place, streams):
    call = f'set -o pipefail; bash "$0" --data_path=faces {streams}'
    done = place.run(FULL[0], shell=("bash", "-c", call))
    assert (done.status, done.err) == (0, "")
    results = place.output / "0/my repo_bs2_1p_acc.log"
    assert "TrainAccuracy = 17.1\n" in results.read_text()
    assert (place.output / "0/train_0.log").read_text().count("Accuracy") == 1


def test_a_home_is_needed_for_a_path_that_starts_there(place):
    done = place.run(FULL[0], "--data_path=~/faces", shell=("env", "-u", "HOME", "bash"))
    assert (done.status, done.err) == (
        2, "error: --data_path=~/faces: HOME is not set: write the path without ~\n")


def test_a_log_that_is_cut_short_is_no_success(place):
    program = place.folder / "bin/python3"
    program.write_text(STAND_IN.replace('echo "Performance: 6.99', 'echo "Perform'))
    done = place.run("train_testcase.sh")
    assert done.status == 2 and done.out.endswith("Run testcase failed!\n") and "Final result" not in done.out
    assert "train_0.log does not contain the run's speed" in done.err and done.err.count("\n") == 1
