# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""What a checkpoint must hold before a run continues from it."""
from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from utils.errors import first_line
from utils.option_types import COUNT

FORMAT = 1
PARTS = ("networks", "ema", "optimizers", "rng", "progress", "options")  # each checkpoint of FORMAT has these
RNG_STATE = torch.get_rng_state()  # its type and size are those of every state of the CPU's generator


def first_not_finite(content: Any, place: str = "") -> str | None:
    """Returns the place ('networks/G/conv.weight') of the first tensor with inf or nan in nested dicts and lists."""
    if torch.is_tensor(content):
        return None if bool(content.isfinite().all()) else place
    items = content.items() if isinstance(content, Mapping) else \
        enumerate(content) if isinstance(content, (list, tuple)) else ()
    found = (first_not_finite(value, f"{place}/{key}".lstrip("/")) for key, value in items)
    return next(filter(None, found), None)


def fault_of(state: Any) -> str | None:
    """Returns why no run can continue from `state`, in words that follow the file's name, or None."""
    if not isinstance(state, Mapping):
        return f"is not a checkpoint of a training: it holds {_kind(state)}"
    if "format" not in state:
        return "is not a checkpoint of a training: it holds " + (
            "weights only (--pth_path reads them)" if state and all(map(torch.is_tensor, state.values()))
            else "no format number")
    if _number(state["format"]) != FORMAT:
        return f"is not a checkpoint of this version (format {state['format']!r} instead of {FORMAT})"
    missing = [part for part in PARTS if part not in state]
    if missing:
        return f"is incomplete: it lacks {', '.join(missing)}"
    wrong = next(filter(None, (check(state[part], part) for part, check in CHECKS.items() if part in state)), None)
    if wrong:
        return f"is not valid: {wrong}"
    place = first_not_finite({name: value for name, value in state.items() if name != "rng"})
    return f"holds inf or nan ({place})" if place else None


def plain_numbers(content: Any) -> Any:
    """Returns nested `content` with numpy's scalars as Python numbers."""
    if isinstance(content, Mapping):
        return {key: plain_numbers(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [plain_numbers(value) for value in content]
    return content.item() if isinstance(content, np.generic) else content


def _kind(value):
    return f"{type(value).__name__} {str(value)[:40]!r}" if isinstance(value, (str, int, float, bool, type(None))) \
        else type(value).__name__


def _number(value):
    """Returns the number in a plain value or a tensor of one element; None for anything else."""
    if torch.is_tensor(value):
        value = value.item() if value.numel() == 1 else None
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _progress(saved, where):
    if not isinstance(saved, Mapping):
        return f"{where} is {_kind(saved)}, not a dict"
    for name, whole in (("step", True), ("samples", True), ("elapsed", False)):
        if name not in saved:
            return f"{where} lacks {name}"
        value = _number(saved[name])
        if value is None or not 0 <= value <= COUNT or whole and value != int(value):
            return f"{where}/{name} is {_kind(saved[name])}, not a {'count' if whole else 'time'}"
    for name in ("best", "last_val"):
        record = saved.get(name)
        if record is not None and not (isinstance(record, Mapping) and _number(record.get("psnr")) is not None):
            return f"{where}/{name} is {_kind(record)}, not the result of a validation"
    for name, check in (("losses", _number), ("bad_images", lambda text: text if isinstance(text, str) else None)):
        record = saved.get(name, {})
        if not isinstance(record, Mapping) or any(check(value) is None for value in record.values()):
            return f"{where}/{name} is not valid"
    return None


def _networks(saved, where):
    if not isinstance(saved, Mapping):
        return f"{where} is {_kind(saved)}, not a dict of networks"
    for role, weights in saved.items():
        if not isinstance(role, str):
            return f"{where} has the name {_kind(role)}, not a text"
        if not isinstance(weights, Mapping):
            return f"{where}/{role} is {_kind(weights)}, not a dict of tensors"
        for name, value in weights.items():
            if not isinstance(name, str) or not torch.is_tensor(value):
                return f"{where}/{role}/{name} is {_kind(value)}, not a tensor"
    return None


def _optimizers(saved, where):
    if not isinstance(saved, Mapping):
        return f"{where} is {_kind(saved)}, not a dict of optimizers"
    for name, parts in saved.items():
        if not isinstance(name, str):
            return f"{where} has the name {_kind(name)}, not a text"
        for part in ("params", "shared", "scaler"):
            if not isinstance(parts, Mapping) or not isinstance(parts.get(part), Mapping):
                return f"{where}/{name} lacks {part}"
        wrong = _networks(parts["params"], f"{where}/{name}/params")
        if wrong:
            return wrong
        if len({tuple(sorted(moments)) for moments in parts["params"].values()}) > 1:
            return f"{where}/{name}/params lacks some parameters' moments"
        if parts["params"] and "step" not in parts["shared"]:
            return f"{where}/{name}/shared lacks step"
        for key, value in parts["shared"].items():
            if not 0 <= (-1 if _number(value) is None else _number(value)) < math.inf:
                return f"{where}/{name}/shared/{key} is {_kind(value)}, not a count"
        if "apex" in parts["scaler"]:  # its counters have their own format
            continue
        for key in ("scale", "skipped", "in_a_row", "growth"):
            value = parts["scaler"].get(key)
            if not (torch.is_tensor(value) and value.dim() == 0 and value >= 0):
                return f"{where}/{name}/scaler/{key} is {_kind(value)}, not a count"
    return None


def _rng(saved, where):
    if not isinstance(saved, (list, tuple)) or not saved:
        return f"{where} is {_kind(saved)}, not a list of one state per rank"
    for rank, state in enumerate(saved):
        for name in ("cpu", "device"):
            value = state.get(name) if isinstance(state, Mapping) else None
            if value is None and name == "device" and isinstance(state, Mapping):
                continue  # a rank on a CPU
            if not torch.is_tensor(value) or value.dtype != RNG_STATE.dtype or \
                    name == "cpu" and value.shape != RNG_STATE.shape:
                return f"{where}/{rank}/{name} is not the state of a random number generator"
        try:
            torch.Generator().set_state(state["cpu"])
        except RuntimeError as error:
            return f"{where}/{rank}/cpu is not the state of a random number generator ({first_line(error)})"
    return None


def _options(saved, where):
    if not isinstance(saved, Mapping):
        return f"{where} is {_kind(saved)}, not a dict"
    for name, value in saved.items():
        values = value if isinstance(value, (list, tuple)) else [value]
        if not isinstance(name, str) or not all(isinstance(v, (str, int, float, type(None))) for v in values):
            return f"{where}/{name} is {_kind(value)}, not the value of an option"
    return None


def _recipe(saved, where):
    wrong = not isinstance(saved, Mapping) or any(not torch.is_tensor(value) or value.dim() for value in saved.values())
    return f"{where} is not a dict of numbers" if wrong else None


CHECKS = {"progress": _progress, "networks": _networks, "ema": _networks, "optimizers": _optimizers, "rng": _rng,
          "options": _options, "recipe": _recipe}
