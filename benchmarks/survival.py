# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Kills a tiny training at random times, restarts it each time, and compares it with an undisturbed training.

    python -m benchmarks.survival [--kills 100] [--ranks 1 2] [--json FILE]

Each kill sends SIGKILL to one rank after a random time; every third kill waits for the next save and hits it. The other
ranks get SIGTERM at once, as from torchrun. Reports the kills during a save (a partial temporary file was left), the
unreadable checkpoints (checked after every kill), the time until the other ranks ended, and whether the final weights
and optimizer states equal those of the undisturbed run bit for bit. Runs on a CPU. The ranks are forked from this
process, which has loaded torch, so that a start takes a tenth of a second.
"""
import importlib
import os
import random
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.measuring import show
from data.drawn.builtin_faces import write_faces
from engine import checkpoint
from engine.trainer import Trainer
from engine.validation import Validation
from options.train_options import parse_train
from utils import distributed
from utils.errors import run_main
from utils.option_types import at_least, file_path, tool_parser

TINY = ["--load_size=32", "--min_ch=4", "--max_ch=8", "--hourglass_ch=4", "--res_depth=0", "--bottleneck_size=16",
        "--batch_size=2", "--workers=0", "--device=cpu", "--print_freq=50", "--visual_freq=1000000",
        "--save_latest_freq=4", "--ema_decay=0.99"]
LONGEST_DELAY = 2.0  # seconds from a start to a kill, at most
LONGEST_WAIT = 60  # seconds until a rank must end after another one was killed


def start(folder, faces, ranks, steps, patience=600):
    """Forks the ranks of one training, which resumes if there is a checkpoint, and returns their pids.

    patience: seconds that a rank waits for the others (--dist_timeout). While the training validates, there is a file
    `validating` in its folder.
    """
    run = Path(folder) / "run"
    words = [*TINY, f"--dataroot={faces}", f"--checkpoints_dir={folder}", "--name=run", f"--train_steps={steps}",
             f"--valroot={faces}", "--val_max=8", "--val_batch_size=2", f"--dist_timeout={patience}"]
    if checkpoint.list_states(run):
        words.append("--continue_train")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pids = []
    for rank in range(ranks):
        pid = os.fork()
        if pid == 0:
            # Under nohup, or in the background of a script, these are ignored. run_main takes them from here.
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            log = os.open(Path(folder) / f"rank_{rank}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            if ranks > 1:
                os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(ranks),
                                  MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
            try:
                run_main(lambda: train(words))
            except SystemExit as end:
                sys.stdout.flush()
                os._exit(end.code or 0)
            finally:
                os._exit(1)
        pids.append(pid)
    return pids


def train(words):
    torch.set_num_threads(1)
    validate = Validation.run

    def marked(validation, *arguments):
        mark = Path(validation.options.checkpoints_dir) / validation.options.name / "validating"
        mark.touch()
        try:
            return validate(validation, *arguments)
        finally:
            mark.unlink(missing_ok=True)
    Validation.run = marked
    with distributed.session():
        return Trainer(parse_train(words)).fit()


def wait(pids, longest=0):
    """Waits for all processes; returns {pid: exit status, negative for a signal}.

    longest: seconds after which this program ends, because a rank that hangs is a failure; 0: no limit.
    """
    signal.alarm(longest)
    ended = {pid: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids}
    signal.alarm(0)
    return ended


def kill_one(pids, run, delay, in_save):
    """Kills a random rank after `delay` seconds or, if `in_save`, rank 0 during the next save.

    Returns the seconds until the other ranks ended.
    """
    time.sleep(delay)
    victim = random.choice(pids)
    if in_save:
        victim = pids[0]  # rank 0 writes the checkpoints
        patience = time.monotonic() + 5
        while not any(run.glob(".*.tmp")) and time.monotonic() < patience:
            time.sleep(0.0003)
    for pid in pids:
        os.kill(pid, signal.SIGKILL if pid == victim else signal.SIGTERM)
    start_of_wait = time.monotonic()
    wait(pids, LONGEST_WAIT)
    return time.monotonic() - start_of_wait


def survive(folder, faces, ranks, steps, kills, seed=0):
    """Kills a training of `steps` steps `kills` times and returns the table's row."""
    random.seed(seed)
    whole, disturbed = Path(folder) / "whole", Path(folder) / "disturbed"
    alone = undisturbed(whole, faces, ranks, steps)
    disturbed.mkdir()
    run = disturbed / "run"
    in_save = unreadable = done = 0
    longest = 0.0
    while done < kills:
        pids = start(disturbed, faces, ranks, steps)
        longest = max(longest, kill_one(pids, run, random.uniform(0.05, LONGEST_DELAY), done % 3 == 0))
        done += 1
        in_save += any(run.glob(".*.tmp"))
        unreadable += sum(checkpoint.find_damage(path) is not None for path in checkpoint.list_states(run))
    step = max((int(p.stem.split("_")[1]) for p in checkpoint.list_states(run)), default=0)
    wait_for_end(start(disturbed, faces, ranks, steps), disturbed)
    return {"ranks": ranks, "steps": steps, "kills": done, "in a save": in_save, "last kill at or after step": step,
            "unreadable checkpoints": unreadable, "longest wait for the others s": longest,
            "bit-equal": same_training(whole, disturbed), "undisturbed s": alone}


def undisturbed(folder, faces, ranks, steps):
    """Trains without a disturbance; returns the seconds that it took."""
    folder.mkdir(parents=True)
    began = time.monotonic()
    wait_for_end(start(folder, faces, ranks, steps), folder)
    return time.monotonic() - began


def wait_for_end(pids, folder):
    """Waits for a training to reach its end. Raises RuntimeError, with its log, if a rank fails."""
    if any(wait(pids).values()):
        raise RuntimeError((folder / "rank_0.log").read_text(encoding="utf-8"))


def newest_state(folder):
    """Returns the newest checkpoint of the training in `folder`."""
    state, damage = checkpoint.read_state(checkpoint.list_states(folder / "run")[-1])
    if damage:
        raise RuntimeError(f"the newest checkpoint in {folder} {damage}")
    return state


def same_training(a, b):
    """Returns whether the newest checkpoints of two trainings are equal: weights, optimizer states, random numbers."""
    a, b = newest_state(a), newest_state(b)
    return all(equal(a[part], b[part]) for part in ("networks", "ema", "optimizers", "rng"))


def equal(a, b):
    """Returns whether two nested states are equal, tensors bit for bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(equal, a, b))
    return torch.equal(a, b) if torch.is_tensor(a) else a == b


def run_all(parser, default_steps, jobs):
    """Parses --ranks, --steps, --json and the parser's own options, and runs the benchmark on drawn faces.

    jobs: function of (options, folder, faces) that returns the table's rows. Returns (options, rows).
    """
    parser.add_argument("--ranks", type=at_least(1, largest=1024), nargs="+", default=[1, 2],
                        help="numbers of ranks, one training each (default: 1 2)")
    parser.add_argument("--steps", type=at_least(1, largest=1_000_000), default=default_steps,
                        help="length of the training in steps (default: %(default)s)")
    parser.add_argument("--json", type=file_path, default=None, help="JSON file to write (default: none)")
    options = parser.parse_args()
    # Imports what is loaded late before the forks; otherwise most signals would hit imports.
    torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], fused=True)
    importlib.import_module("torch.distributed.nn.functional")
    with tempfile.TemporaryDirectory() as folder:
        write_faces(Path(folder) / "faces", 50, first_seed=0)
        return options, jobs(options, Path(folder), Path(folder) / "faces" / "images")


def main():
    parser = tool_parser(__doc__)
    parser.add_argument("--kills", type=at_least(1, largest=1_000_000), default=100,
                        help="number of kills per training (default: 100)")
    options, rows = run_all(parser, 4000, lambda o, folder, faces: [
        survive(folder / str(ranks), faces, ranks, o.steps, o.kills) for ranks in o.ranks])
    show(f"{options.kills} kills", rows, options.json)
    return int(any(row["unreadable checkpoints"] or not row["bit-equal"] for row in rows))


if __name__ == "__main__":
    run_main(main)
