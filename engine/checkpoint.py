"""Checkpoints: complete, whole or not there at all, the last k kept, and weights as files of their own.

A run's folder holds state_<step>.pth (everything that a resumed run needs) and float32 weights under the
published names: latest_net_G.pth, iter_<step>_net_G.pth, best_net_G.pth (plain state dicts).
"""
import pickle
import re
import zipfile
from pathlib import Path

import torch

from utils.errors import UserError, first_line
from utils.files import replacing
from utils.version import VERSION

FORMAT = 1


def save_atomically(content, path):
    """torch.save to `path`, whole or not at all, and flushed to disk. Raises WriteError (utils/files.py)."""
    with replacing(path, durable=True, repeat="continue the run with --continue_train") as file:
        torch.save(content, file)


def state_path(folder, step):
    return Path(folder) / f"state_{step:08d}.pth"


def list_states(folder):
    """Complete checkpoints of a run's folder, oldest first."""
    return sorted(p for p in Path(folder).glob("state_*.pth") if re.fullmatch(r"state_\d+\.pth", p.name))


def save_state(folder, step, state, keep):
    """Write the complete checkpoint of `step`, its tensors on the CPU, and delete all but the newest `keep` up to it.

    A damaged one of a later step, which the run went back from, stays until the run gets there again.
    """
    path = state_path(folder, step)
    save_atomically({"format": FORMAT, "version": VERSION, **on_cpu(state)}, path)
    for old in [other for other in list_states(folder) if other <= path][:-keep]:
        old.unlink()


def on_cpu(state):
    """A nested state (dicts, lists, tensors, plain values) with its tensors on the CPU."""
    if torch.is_tensor(state):
        return state.detach().cpu()
    if isinstance(state, dict):
        return {key: on_cpu(value) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return [on_cpu(value) for value in state]
    return state


def save_weights(folder, label, networks):
    """<label>_net_<role>.pth for each {role: module}: its float32 state dict, contiguous, on the CPU."""
    for role, net in networks.items():
        weights = {name: t.detach().to("cpu", copy=True).contiguous() for name, t in net.state_dict().items()}
        save_atomically(weights, Path(folder) / f"{label}_net_{role}.pth")


def load_state(folder):
    """(the newest whole checkpoint below `folder`, on the CPU; lines that say which damaged ones were passed over).

    UserError where there is none, or none that is whole, or where it is of another make.
    """
    states = list_states(folder)
    if not states:
        raise UserError(f"--continue_train: no checkpoint (state_*.pth) in {folder}. Check --name and "
                        f"--checkpoints_dir, or start without --continue_train.")
    said = []
    for path in reversed(states):
        state, damage = read_state(path)
        if not damage:
            break
        said.append(f"warning: the checkpoint {path} is damaged ({damage}); going on from the one before it.")
    else:
        raise UserError(f"--continue_train: each checkpoint in {folder} is damaged; the newest: {damage}. Weights in "
                        f"latest_net_*.pth may be whole: start another run from them with --pth_path.")
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise UserError(f"--continue_train: {path} is not a checkpoint of this version (format {FORMAT}).")
    return state, said


def read_state(path):
    """(a checkpoint's content on the CPU, None), or (None, why it cannot be read); (None, None): not one of ours."""
    damage = find_damage(path)
    if damage:
        return None, damage
    try:
        return torch.load(path, map_location="cpu", weights_only=True), None
    except pickle.UnpicklingError:  # whole, but with more than tensors in it
        return None, None
    except Exception as error:  # what zipfile does not look at is damaged, and torch may fail at any of it
        return None, first_line(error)


def find_damage(path):
    """Why the checkpoint cannot be read (its zip structure and checksums are looked at), or None."""
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except Exception as error:  # zipfile takes a damaged header at its word: other methods, encryption, odd names
        return first_line(error)
    return f"the checksum of {broken} is wrong" if broken else None
