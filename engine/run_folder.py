"""The folder of a run: made, found again, and marked with the launch that writes into it."""
from pathlib import Path

import yaml

from engine import checkpoint
from utils import distributed
from utils.errors import UserError
from utils.option_types import current_word

# Options that say nothing of what is learned.
FREE_TO_CHANGE = {
    "cache_folder", "checkpoints_dir", "continue_train", "dataroot", "device", "device_id", "dist_timeout",
    "keep_checkpoints", "max_minutes", "name", "preset", "pretrain_d_path", "pretrain_model_path", "print_freq",
    "rank_logs", "save_iter_freq", "save_latest_freq", "total_epochs", "train_steps", "val_batch_size", "valroot",
    "visual_freq", "workers"}
LAUNCH_FILE = ".launch"  # which torchrun the run was started by


def prepare(options):
    """(the run's folder, made if need be; whether to go on from a checkpoint in it).

    For rank 0: on other nodes the launch has another id. UserError where the folder cannot be made, or holds another
    run.
    """
    check_name(options.name)
    folder = Path(options.checkpoints_dir) / options.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        states = checkpoint.list_states(folder)
        going_on = options.continue_train or (bool(states) and is_restarted(folder))
        if states and not going_on:
            raise UserError(f"{folder} already holds checkpoints of a run: go on with it (--continue_train), "
                            f"or choose another --name, or remove the folder.")
        for torn in folder.glob(".*.tmp"):  # of a save that kill -9 or a power cut ended
            torn.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"--checkpoints_dir: cannot write into {folder}: {error.strerror}.") from None
    return folder, going_on


def check_name(name):
    """UserError, naming --name, unless `name` is that of a folder within another."""
    if Path(name).name != name or name in ("", ".", ".."):
        raise UserError(f"--name {name!r} must be a plain folder name, without slashes.")


def is_restarted(folder):
    """Whether the run in `folder` failed, and the torchrun that started it starts it anew."""
    mark = folder / LAUNCH_FILE
    return distributed.restarted() and mark.exists() and mark.read_text() == distributed.launch_id()


def load_checkpoint(folder, options):
    """The state to go on from, the same one on every rank; UserError where there is none, or not on all nodes.

    Says which options are others than those of the run so far: a forgotten one would change the training in silence.
    """
    state, warnings = checkpoint.load_state(folder)
    steps = distributed.gather(state["progress"]["step"])
    if len(set(steps)) > 1:
        raise UserError(f"the ranks see different checkpoints in {folder} (steps {steps}): --checkpoints_dir must be "
                        f"one folder that all nodes share.")
    changed = [f"{name} {before} -> {now}" for name, now in vars(options).items()
               if (before := current_word(name, state.get("options", {}).get(name, now))) != now
               and name not in FREE_TO_CHANGE]
    if changed:
        warnings.append(f"warning: --continue_train with other options than so far: {', '.join(changed)}.")
    for line in warnings if distributed.is_main() else ():
        print(line, flush=True)
    return state


def write_options(options, folder):
    """options.yml, from which newtest.py builds the network, and the mark of this launch."""
    path = folder / "options.yml"
    try:
        path.write_text(yaml.safe_dump(vars(options), sort_keys=False))
        if distributed.launched():
            (folder / LAUNCH_FILE).write_text(distributed.launch_id())
    except OSError as error:
        raise UserError(f"--checkpoints_dir: cannot write {path}: {error.strerror}.") from None
