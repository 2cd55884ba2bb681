# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
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

from engine.state_format import FORMAT, fault_of, first_not_finite, plain_numbers
from utils.archive import HARMLESS, find_damage
from utils.errors import UserError, first_line
from utils.files import replacing
from utils.version import VERSION


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
    state = on_cpu(state)
    refuse_not_finite(state, f"the state after step {step}")
    path = state_path(folder, step)
    save_atomically({"format": FORMAT, "version": VERSION, **state}, path)
    for old in [other for other in list_states(folder) if other <= path][:-keep]:
        old.unlink()


def refuse_not_finite(content: Any, what: str) -> None:
    """Raises UserError, naming the value, if a tensor in the nested `content` holds inf or nan; what: its name."""
    place = first_not_finite(content)
    if place:
        raise UserError(f"{what} holds inf or nan ({place}): it is not saved, and earlier checkpoints are unchanged. "
                        f"Go on from the newest with --continue_train and a lower --lr.", status=1)


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
    """Writes LABEL_net_ROLE.pth per {role: module}: its float32 state dict, contiguous, on the CPU.

    Raises UserError, before anything is written, if a weight is not finite.
    """
    weights = {role: {name: t.detach().to("cpu", copy=True).contiguous() for name, t in net.state_dict().items()}
               for role, net in networks.items()}
    refuse_not_finite(weights, f"{label}_net")
    for role, of_role in weights.items():
        save_atomically(of_role, Path(folder) / f"{label}_net_{role}.pth")


def load_state(folder: str | os.PathLike) -> tuple[dict, list[str]]:
    """Returns (the newest usable checkpoint in `folder`, on the CPU; warnings about newer ones that it skipped).

    Raises UserError if no checkpoint exists or none is usable.
    """
    states = list_states(folder)
    if not states:
        raise UserError(f"--continue_train: no checkpoint (state_*.pth) in {folder}. Check --name and "
                        f"--checkpoints_dir, or start without --continue_train.")
    faults = []
    for path in reversed(states):
        state, fault = read_state(path)
        if not fault:
            return state, [f"warning: the checkpoint {skipped} {why}; continuing from the one before it."
                           for skipped, why in faults]
        faults.append((path, fault))
    path, fault = faults[0]
    which = f"the only checkpoint {path}" if len(faults) == 1 else \
        f"none of the {len(faults)} checkpoints in {folder} can be used: the newest {path.name}"
    raise UserError(f"--continue_train: {which} {fault}. Weights in latest_net_*.pth may be intact: start another run "
                    f"from them with --pth_path.")


def read_state(path: str | os.PathLike) -> tuple[dict | None, str | None]:
    """Returns (a checkpoint on the CPU, None), or (None, why it cannot be used), which continues a sentence."""
    damage = find_damage(path)
    if damage:
        return None, f"is corrupted ({damage})"
    try:
        with torch.serialization.safe_globals(HARMLESS):
            state = plain_numbers(torch.load(path, map_location="cpu", weights_only=True))
    except pickle.UnpicklingError as error:  # intact, but it holds more than tensors and numbers
        found = re.search(r"GLOBAL ([\w.]+)|class ([\w.]+)|function ([\w.]+)", str(error))
        held = next(filter(None, found.groups()), None) if found else None
        return None, "is not a checkpoint of a training: it holds " + (
            f"a Python object ({held})" if held else "Python objects") + ", which are not read for safety"
    except Exception as error:  # a part that zipfile does not check is corrupted; torch may fail anywhere
        return None, f"is corrupted ({first_line(error)})"
    fault = fault_of(state)
    return (None, fault) if fault else (state, None)
