"""Checkpoints of a run, written atomically; the newest k are kept. Weights are written as files of their own.

A run's folder holds state_<step>.pth (everything that a resumed run needs) and float32 weights under the
published names: latest_net_G.pth, iter_<step>_net_G.pth, best_net_G.pth (plain state dicts).
"""
import os
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from utils.archive import find_damage
from utils.errors import UserError, first_line
from utils.files import replacing
from utils.version import VERSION

FORMAT = 1


def save_atomically(content: Any, path: str | os.PathLike) -> None:
    """Calls torch.save, atomically, and flushes to disk. Raises WriteError (utils/files.py)."""
    with replacing(path, durable=True, repeat="continue the run with --continue_train") as file:
        torch.save(content, file)


def state_path(folder: str | os.PathLike, step: int) -> Path:
    """Returns the path of the checkpoint of `step`."""
    return Path(folder) / f"state_{step:08d}.pth"


def list_states(folder: str | os.PathLike) -> list[Path]:
    """Returns the checkpoints in a run's folder, oldest first."""
    return sorted(p for p in Path(folder).glob("state_*.pth") if re.fullmatch(r"state_\d+\.pth", p.name))


def save_state(folder: str | os.PathLike, step: int, state: Mapping[str, Any], keep: int) -> None:
    """Writes the checkpoint of `step`, tensors on the CPU. Deletes older checkpoints except the newest `keep`.

    Checkpoints of later steps stay: a run that resumed from before a corrupted one overwrites it when it gets there.
    """
    path = state_path(folder, step)
    save_atomically({"format": FORMAT, "version": VERSION, **on_cpu(state)}, path)
    for old in [other for other in list_states(folder) if other <= path][:-keep]:
        old.unlink()


def on_cpu(state: Any) -> Any:
    """Returns a copy of a nested state (dicts, lists, tensors, plain values) with its tensors on the CPU."""
    if torch.is_tensor(state):
        return state.detach().cpu()
    if isinstance(state, dict):
        return {key: on_cpu(value) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return [on_cpu(value) for value in state]
    return state


def save_weights(folder: str | os.PathLike, label: str, networks: Mapping[str, nn.Module]) -> None:
    """Writes LABEL_net_ROLE.pth per {role: module}: its float32 state dict, contiguous, on the CPU."""
    for role, net in networks.items():
        weights = {name: t.detach().to("cpu", copy=True).contiguous() for name, t in net.state_dict().items()}
        save_atomically(weights, Path(folder) / f"{label}_net_{role}.pth")


def load_state(folder: str | os.PathLike) -> tuple[dict, list[str]]:
    """Returns (the newest intact checkpoint in `folder`, on the CPU; warnings about corrupted ones that it skipped).

    Raises UserError if no intact checkpoint exists or its format differs.
    """
    states = list_states(folder)
    if not states:
        raise UserError(f"--continue_train: no checkpoint (state_*.pth) in {folder}. Check --name and "
                        f"--checkpoints_dir, or start without --continue_train.")
    warnings = []
    for path in reversed(states):
        state, damage = read_state(path)
        if not damage:
            break
        warnings.append(f"warning: the checkpoint {path} is corrupted ({damage}); continuing from the one before it.")
    else:
        raise UserError(f"--continue_train: each checkpoint in {folder} is corrupted; the newest: {damage}. Weights in "
                        f"latest_net_*.pth may be intact: start another run from them with --pth_path.")
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise UserError(f"--continue_train: {path} is not a checkpoint of this version (format {FORMAT}).")
    return state, warnings


def read_state(path: str | os.PathLike) -> tuple[dict | None, str | None]:
    """Returns (content on the CPU, None), (None, why the file is corrupted), or (None, None) if it is no checkpoint."""
    damage = find_damage(path)
    if damage:
        return None, damage
    try:
        return torch.load(path, map_location="cpu", weights_only=True), None
    except pickle.UnpicklingError:  # intact, but it holds more than tensors
        return None, None
    except Exception as error:  # a part that zipfile does not check is corrupted; torch may fail anywhere
        return None, first_line(error)
