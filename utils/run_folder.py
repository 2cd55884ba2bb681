"""The folder of a run: made, found again, and marked with the launch that writes into it."""
from pathlib import Path

import yaml

from utils import checkpoint, distributed
from utils.errors import UserError

LAUNCH_FILE = ".launch"  # which torchrun the run was started by


def prepare(options):
    """Path of the run's folder, made if need be. UserError where it cannot be, or holds another run."""
    if Path(options.name).name != options.name or options.name in ("", ".", ".."):
        raise UserError(f"--name {options.name!r} must be a plain folder name, without slashes.")
    folder = Path(options.checkpoints_dir) / options.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if checkpoint.list_states(folder) and not goes_on(options, folder):
            raise UserError(f"{folder} already holds checkpoints of a run: go on with it (--continue_train), "
                            f"or choose another --name, or remove the folder.")
        for torn in folder.glob(".*.tmp"):  # of a save that kill -9 or a power cut ended
            torn.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"--checkpoints_dir: cannot write into {folder}: {error.strerror}.") from None
    return folder


def goes_on(options, folder):
    """Whether the run in `folder` is to be continued: asked for, or restarted by the torchrun that started it."""
    mark = folder / LAUNCH_FILE
    return options.continue_train or (
        distributed.restarted() and mark.exists() and mark.read_text() == distributed.launch_id())


def find_checkpoint(options, folder):
    """The state to go on from, or None for a new run; the same one on every rank."""
    if not goes_on(options, folder) or not (options.continue_train or checkpoint.list_states(folder)):
        return None
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
