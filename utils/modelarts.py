# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Runs a script of test/ as a ModelArts job, for modelarts_entry_acc.py and modelarts_entry_perf.py."""
import os
import shutil
import signal
import subprocess
import sys
from itertools import islice
from pathlib import Path

from utils.environment import number
from utils.errors import UserError, shown
from utils.files import replacing
from utils.option_types import Parser
from utils.signals import exit_status
from utils.started_by import STARTED_BY

CODE = Path(__file__).resolve().parents[1]
LISTED = 20  # inputs named in the job's log
OWN = {"data_path": "data_url", "output_path": "train_url"}  # {the scripts' argument: this program's}


def run_job(kind, argv):
    """Trains on --data_url with results in --train_url. Returns the training's exit status; raises UserError.

    kind: full or performance, the script of test/. On an Ascend engine the platform starts this program once per card:
    card 0 of each host starts one training on all cards, the others end at once. Other arguments in `argv` are passed
    to the script, which rejects unknown ones. On ModelArts (MODELARTS_MODEL_PATH is set), this run's files in
    test/output are also copied to --train_url, even if the training failed.
    """
    parser = Parser(
        description=f"Run test/train_{kind}_1p.sh as a ModelArts job, with several cards train_{kind}_8p.sh, with "
                    f"several hosts train_{kind}_multinodes.sh.",
        epilog="Other arguments, --name=value or --name value, are those of the script; relative paths among them are "
               "relative to the code folder.")
    parser.add_argument("--data_url", default="/home/ma-user/modelarts/inputs/data_url_0", help="folder of faces")
    parser.add_argument("--train_url", default="/home/ma-user/modelarts/outputs/train_url_0/",
                        help="folder for the results")
    options, others = parser.parse_known_args(argv)
    data, results = os.path.abspath(options.data_url), os.path.abspath(options.train_url)
    script, devices = choose_script(kind, os.environ)
    if script is None:
        print(f"Card {os.environ['ASCEND_DEVICE_ID']}: card 0 starts one training on all cards; nothing to do here.")
        return 0
    os.chdir(CODE)
    output = Path("test/output")
    if on_platform() and Path(results).resolve().is_relative_to(output.resolve()):
        raise UserError(f"--train_url: {results} lies in {output}, which is copied there: choose another folder.")
    if os.path.lexists(results) and not os.path.isdir(results):
        raise UserError(f"--train_url: {shown(results)} is not a folder: choose another one.")
    for argument in others:
        name = argument.lstrip("-").split("=")[0]
        if name in OWN:
            raise UserError(f"{shown(argument)}: give --{OWN[name]} in place of --{name}.")
    list_inputs(data)
    make_line_ends_unix(CODE / "test")
    before = folders_in(output)
    status = run(["bash", f"test/{script}", f"--data_path={data}", f"--output_path={results}", *devices,
                  *join_pairs(others)])
    if on_platform():
        try:
            for folder in folders_in(output) - before:
                shutil.copytree(folder[0], os.path.join(results, folder[0].name), dirs_exist_ok=True)
            print(f"Results: {results}", flush=True)
        except OSError as error:
            print(f"error: cannot copy {output} to {results}: {error}", file=sys.stderr)
            return status or 1
    return status


def on_platform():
    return "MODELARTS_MODEL_PATH" in os.environ


def choose_script(kind, env):
    """Returns (script of test/ or None, its arguments that choose the devices) from the platform's variables `env`.

    RANK_SIZE: cards of all hosts; ASCEND_DEVICE_ID: this process's card on its host; MA_NUM_HOSTS, VC_TASK_INDEX:
    number of hosts and this host's place; VC_WORKER_HOSTS: the hosts' names. None: another process trains. Raises
    UserError for a variable that is missing, no number, or contradicts the others.
    """
    hosts = number("MA_NUM_HOSTS", 1, least=1, env=env)
    cards = number("RANK_SIZE", hosts, least=1, env=env)
    if cards % hosts:
        raise UserError(f"RANK_SIZE={cards} is not a multiple of MA_NUM_HOSTS={hosts}.")
    if cards == 1:
        return f"train_{kind}_1p.sh", []
    if number("ASCEND_DEVICE_ID", 0, largest=cards // hosts - 1, env=env):
        return None, []
    per_host = [f"--rank_size={cards // hosts}"]
    if hosts == 1:
        return f"train_{kind}_8p.sh", per_host
    names = [name.strip() for name in env.get("VC_WORKER_HOSTS", "").split(",") if name.strip()]
    if len(names) != hosts:
        raise UserError(f"MA_NUM_HOSTS={hosts}, but VC_WORKER_HOSTS names {len(names)} hosts: "
                        f"'{shown(','.join(names))}'.")
    place = number("VC_TASK_INDEX", largest=hosts - 1, env=env)
    return f"train_{kind}_multinodes.sh", [f"--nnodes={hosts}", f"--node_rank={place}", f"--master_addr={names[0]}",
                                           *per_host]


def folders_in(output):
    """Returns {(folder, its identity and time of change)} of the folders in `output` that hold a run's files.

    A run makes its folder anew: what it leaves differs from what was there before.
    """
    folders = output.iterdir() if output.is_dir() else ()
    return {(folder, folder.stat().st_ino, folder.stat().st_mtime_ns) for folder in folders
            if folder.is_dir() and ".previous" not in folder.name}


def list_inputs(folder):
    """Prints the first names in `folder`; 'none' for an unusable folder, which the training reports as an error."""
    try:
        names = [entry.name for entry in islice(os.scandir(folder), LISTED + 1)]
    except OSError:
        names = []
    print(f"Inputs in {folder}: {', '.join(sorted(names[:LISTED])) or 'none'}"
          f"{', ...' if len(names) > LISTED else ''}", flush=True)


def make_line_ends_unix(folder):
    """Converts CRLF to LF in the folder's shell scripts, for code that was copied from Windows. Raises UserError."""
    for path in folder.glob("*.sh"):
        content = path.read_bytes()
        if b"\r" in content:
            with replacing(path, repeat="start the job again, or convert it with dos2unix") as file:
                file.write(content.replace(b"\r\n", b"\n"))
                shutil.copymode(path, file.name)


def join_pairs(arguments):
    """Converts ['--a', '1', '--b=2'] to ['--a=1', '--b=2'], the only form that the scripts accept."""
    joined = []
    for argument in arguments:
        if joined and joined[-1].startswith("--") and "=" not in joined[-1] and not argument.startswith("--"):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def run(command):
    """Runs `command` with this interpreter first in PATH; forwards signals. Returns its exit status.

    The ranks find each other through torchrun; with RANK_TABLE_FILE set, HCCL would read the platform's table instead,
    which may list the cards in another order.
    """
    env = dict(os.environ) | {STARTED_BY: str(os.getpid())}
    env["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)])
    if env.pop("RANK_TABLE_FILE", None):
        print("RANK_TABLE_FILE is not used: torchrun connects the ranks.", flush=True)
    # A separate session: otherwise Ctrl-C would reach the child twice, from the terminal and from the handler.
    child = subprocess.Popen(command, env=env, start_new_session=True)
    for received in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(received) is not signal.SIG_IGN:  # nohup ignores SIGHUP
            signal.signal(received, lambda number, frame: child.send_signal(number))
    status = child.wait()
    return status if status >= 0 else exit_status(-status)
