# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The folder of a run: creates it, finds it again, and marks it with the launch that writes into it."""
import contextlib
from argparse import Namespace
from pathlib import Path

import yaml

from engine import checkpoint
from restore.description import OPTIONS_FILE
from utils import distributed
from utils.errors import UserError
from utils.files import WRITER_FILE, is_temporary, write_file
from utils.folder_lock import LOCK_FILE, only_writer
from utils.names import printable
from utils.option_types import check_name, current_word

# A resumed run may change these options without a warning: they do not affect what is learned.
FREE_TO_CHANGE = {
    "cache_folder", "checkpoints_dir", "continue_train", "data_timeout", "dataroot", "device", "device_id",
    "dist_timeout", "keep_checkpoints", "max_minutes", "name", "preset", "pretrain_d_path", "pretrain_model_path",
    "print_freq", "profile_steps", "rank_logs", "save_iter_freq", "save_latest_freq", "total_epochs", "train_steps",
    "val_batch_size", "valroot", "visual_freq", "workers"}
# What a checkpoint that lacks these options was trained with: it is older than they are.
BEFORE = {"residual": False, "keep_luma": False, "lambda_pcp": 0.0, "pcp_path": None, "lambda_g": 0.0,
          "skips": False, "skips_lr_factor": 1.0, "pix_loss": "l1", "lambda_id": 0.0, "arcface_path": None}
LAUNCH_FILE = ".launch"  # holds the id of the torchrun launch that writes into the folder


def prepare(options: Namespace, held: contextlib.ExitStack) -> tuple[Path, bool]:
    """Returns (the run's folder, created if needed; whether to continue from a checkpoint in it).

    held: receives the folder's lock; closing it releases the lock. Only rank 0 calls it: on other nodes the launch has
    another id. Raises UserError if the folder cannot be created, holds another run, or another process writes into it.
    """
    check_name(options.name)
    folder = Path(options.checkpoints_dir) / options.name
    try:
        new = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        locked = held.enter_context(only_writer(folder, "--name"))
        if new and locked:
            held.push(lambda kind, *_: kind and _remove_unused(new))
        states = checkpoint.list_states(folder)
        restarted = is_restarted(folder)
        going_on = options.continue_train or (bool(states) and restarted)
        if states and not going_on:
            raise UserError(f"{folder} already holds checkpoints of a run: continue it (--continue_train), "
                            f"or choose another --name, or remove the folder.")
        weights = sorted(folder.glob("*_net_*.*"))
        if weights and not (going_on or restarted):  # e.g. of a run whose checkpoints were removed to save space
            raise UserError(f"{folder} already holds weights ({printable(weights[0].name)}), which this run would "
                            f"replace: choose another --name, or move them.")
        for torn in filter(is_temporary, folder.iterdir()):  # left by a save that was killed
            torn.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"--checkpoints_dir: cannot write into {folder}: {error.strerror}.") from None
    return folder, going_on


def _remove_unused(folders):
    """Removes the folder of a run that was refused, folders[0], and the parents that were made for it.

    Its lock is held. A folder that holds anything beside the lock's files stays.
    """
    names = WRITER_FILE, LOCK_FILE  # the lock last: another process could otherwise take a new one, and lose its file
    with contextlib.suppress(OSError):
        if {path.name for path in folders[0].iterdir()} <= set(names):
            for name in names:
                (folders[0] / name).unlink(missing_ok=True)
            for folder in folders:
                folder.rmdir()


def output_folders(options: Namespace) -> tuple[Path, ...]:
    """Returns the folders that must not be searched for faces: a training's output is never its input."""
    runs = Path(options.checkpoints_dir)  # its runs by themselves, too: it may be the folder of faces
    cache = [Path(options.cache_folder)] if options.cache_folder else []
    return runs, runs / options.name, *(path.parent for path in sorted(runs.glob(f"*/{OPTIONS_FILE}"))), *cache


def is_restarted(folder: Path) -> bool:
    """Returns whether the run in `folder` failed and its torchrun is restarting it."""
    mark = folder / LAUNCH_FILE
    return distributed.restarted() and mark.exists() and mark.read_text(encoding="utf-8") == distributed.launch_id()


def load_checkpoint(folder: Path, options: Namespace) -> dict:
    """Returns the state to continue from, the same on every rank. Raises UserError if there is none on some node.

    Prints which options differ from those of the run so far: a forgotten one would silently change the training.
    """
    state, warnings = checkpoint.load_state(folder)
    steps = distributed.gather(int(state["progress"]["step"]))
    if len(set(steps)) > 1:
        raise UserError(f"the ranks see different checkpoints in {folder} (steps {steps}): --checkpoints_dir must be "
                        f"one folder that all nodes share.")
    changed = [f"{name} {before} -> {now}" for name, now in vars(options).items()
               if (before := current_word(name, state.get("options", {}).get(name, BEFORE.get(name, now)))) != now
               and name not in FREE_TO_CHANGE]
    if changed:
        warnings.append(f"warning: --continue_train changes options of the run: {', '.join(changed)}.")
    for line in warnings if distributed.is_main() else ():
        print(line, flush=True)
    return state


def write_options(options: Namespace, folder: Path) -> None:
    """Writes options.yml, from which newtest.py builds the network, and the mark of this launch. Raises WriteError."""
    write_file(folder / OPTIONS_FILE, yaml.safe_dump(vars(options), sort_keys=False))
    if distributed.launched():
        write_file(folder / LAUNCH_FILE, distributed.launch_id())
