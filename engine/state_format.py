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
    try:
        for part, check in CHECKS.items():
            if part in state:
                check(state[part], part)
    except _Invalid as invalid:
        return f"is not valid: {invalid}"
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


class _Invalid(Exception):
    """A part of a checkpoint is not what it should be; the message names the place."""


def _require(holds, message):
    if not holds:
        raise _Invalid(message)


def _items(saved, where, what):
    """Returns the (name, value) pairs of a dict with texts as names; what: of what it is, for the message."""
    _require(isinstance(saved, Mapping), f"{where} is {_kind(saved)}, not a dict of {what}")
    for name in saved:
        _require(isinstance(name, str), f"{where} has the name {_kind(name)}, not a text")
    return saved.items()


def _require_all(saved, where, what, holds):
    """Requires holds(value) of every value in the dict `saved`; what: the name of such a value, for the message."""
    for name, value in _items(saved, where, f"{what}s"):
        _require(holds(value), f"{where}/{name} is {_kind(value)}, not a {what}")


def _is_count(value):
    number = _number(value)
    return number is not None and 0 <= number < math.inf


def _progress(saved, where):
    _items(saved, where, "numbers")
    for name, whole in (("step", True), ("samples", True), ("elapsed", False)):
        _require(name in saved, f"{where} lacks {name}")
        value = _number(saved[name])
        _require(value is not None and 0 <= value <= COUNT and (not whole or value == int(value)),
                 f"{where}/{name} is {_kind(saved[name])}, not a {'count' if whole else 'time'}")
    for name in ("best", "last_val"):
        record = saved.get(name)
        _require(record is None or isinstance(record, Mapping) and _number(record.get("psnr")) is not None,
                 f"{where}/{name} is {_kind(record)}, not the result of a validation")
    _require_all(saved.get("losses", {}), f"{where}/losses", "number", lambda value: _number(value) is not None)
    _require_all(saved.get("bad_images", {}), f"{where}/bad_images", "text", lambda value: isinstance(value, str))


def _networks(saved, where):
    for role, weights in _items(saved, where, "networks"):
        _require_all(weights, f"{where}/{role}", "tensor", torch.is_tensor)


def _optimizers(saved, where):
    for name, parts in _items(saved, where, "optimizers"):
        for part in ("params", "shared", "scaler"):
            _require(isinstance(parts, Mapping) and isinstance(parts.get(part), Mapping),
                     f"{where}/{name} lacks {part}")
        params, shared, scaler = (parts[part] for part in ("params", "shared", "scaler"))
        _networks(params, f"{where}/{name}/params")
        _require(len({tuple(sorted(moments)) for moments in params.values()}) <= 1,
                 f"{where}/{name}/params lacks some parameters' moments")
        _require(not params or "step" in shared, f"{where}/{name}/shared lacks step")
        _require_all(shared, f"{where}/{name}/shared", "count", _is_count)
        for key in () if "apex" in scaler else ("scale", "skipped", "in_a_row", "growth"):  # apex has its own format
            value = scaler.get(key)
            _require(torch.is_tensor(value) and value.dim() == 0 and _is_count(value),
                     f"{where}/{name}/scaler/{key} is {_kind(value)}, not a count")


def _rng(saved, where):
    _require(isinstance(saved, (list, tuple)) and saved, f"{where} is {_kind(saved)}, not a list of one state per rank")
    for rank, state in enumerate(saved):
        _require(isinstance(state, Mapping), f"{where}/{rank} is {_kind(state)}, not a dict of states")
        for name in ("cpu", "device"):
            value = state.get(name)
            if value is None and name == "device":  # a rank on a CPU
                continue
            right = torch.is_tensor(value) and value.dtype == RNG_STATE.dtype
            _require(right and (name == "device" or value.shape == RNG_STATE.shape),
                     f"{where}/{rank}/{name} is not the state of a random number generator")
        try:
            torch.Generator().set_state(state["cpu"])
        except RuntimeError as error:
            raise _Invalid(f"{where}/{rank}/cpu is not the state of a random number generator "
                           f"({first_line(error)})") from None


def _options(saved, where):
    for name, value in _items(saved, where, "options"):
        values = value if isinstance(value, (list, tuple)) else [value]
        _require(all(isinstance(v, (str, int, float, type(None))) for v in values),
                 f"{where}/{name} is {_kind(value)}, not the value of an option")


def _recipe(saved, where):
    _require_all(saved, where, "0-d tensor", lambda value: torch.is_tensor(value) and value.dim() == 0)


CHECKS = {"progress": _progress, "networks": _networks, "ema": _networks, "optimizers": _optimizers, "rng": _rng,
          "options": _options, "recipe": _recipe}
