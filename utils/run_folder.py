"""The folder of a run: made, found again, and marked with the launch that writes into it."""
from pathlib import Path

import yaml

from utils import checkpoint, distributed
from utils.errors import UserError

LAUNCH_FILE = ".launch"  # which torchrun the run was started by


def prepare(options):
    """(the run's folder, made if need be; whether to go on from a checkpoint in it).

    For rank 0: on other nodes the launch has another id. UserError where the folder cannot be made, or holds another
    run.
    """
    if Path(options.name).name != options.name or options.name in ("", ".", ".."):
        raise UserError(f"--name {options.name!r} must be a plain folder name, without slashes.")
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


def is_restarted(folder):
    """Whether the run in `folder` failed, and the torchrun that started it starts it anew."""
    mark = folder / LAUNCH_FILE
    return distributed.restarted() and mark.exists() and mark.read_text() == distributed.launch_id()


def load_checkpoint(folder):
    """The state to go on from, the same one on every rank; UserError where there is none, or not on all nodes."""
    state, warnings = checkpoint.load_state(folder)
    steps = distributed.gather(state["progress"]["step"])
    if len(set(steps)) > 1:
        raise UserError(f"the ranks see different checkpoints in {folder} (steps {steps}): --checkpoints_dir must be "
                        f"one folder that all nodes share.")
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
