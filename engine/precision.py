# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Which precision a training or evaluation computes in: --opt_level, --amp_dtype, the device and the run so far."""
from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

import utils.device
from restore.restorer import HALVES, OPT_LEVELS, Precision
from utils import distributed
from utils.device_names import DEVICES
from utils.processor import processor

RECORD = "precision"  # name in a checkpoint's options: what the run computed in
# Time of a training step in O1 or O2 relative to O0 on a CPU without bfloat16 instructions (benchmarks/precision.py).
SLOWDOWN = "5 to 9"


class Chosen(NamedTuple):
    """A Precision, and a line on it for the log, or None."""
    precision: Precision
    note: str | None = None


def choose_precision(options: Namespace, device: torch.device, saved: Mapping[str, Any] | None = None) -> Chosen:
    """Returns what to compute in; all ranks compute in what rank 0 chooses.

    saved: the options in the checkpoint that a run continues from. It keeps its precision unless the options that set
    it were changed, or the kind of device was.
    """
    level, half, note = distributed.from_main(lambda: _choose(options, device, saved))
    return Chosen(Precision(level, getattr(torch, half)), note)


def record(device: torch.device, precision: Precision) -> str:
    """Returns the text that a checkpoint keeps."""
    return " ".join((device.type, precision.opt_level, _name(precision.half)))


def _choose(o, device, saved):
    """Returns (level, name of the half type, note)."""
    before = None if saved is None else _before(saved, device)
    unchanged = before and all(saved.get(name) == getattr(o, name) for name in ("opt_level", "amp_dtype"))
    if unchanged and before[0] == device.type:
        level, half = before[1:]
        return level, half, f"{_cost(level)} --opt_level O0 changes it." if _is_slow(level, device) else None
    level, half = _meant(o.opt_level, o.amp_dtype, device)
    note = _cost(level) if _is_slow(level, device) else None
    if note and not o.amp_dtype:
        note += f" O0 is taken; --amp_dtype {half} insists on {level}."
        level = "O0"
    now = _shown(device.type, level, half)
    if before and _shown(*before) != now:
        changed = f"the run computed in {_shown(*before)} so far, from here on in {now}."
        note = f"{note} {changed[0].upper()}{changed[1:]}" if note else changed
    return level, half, note


def _before(saved, device):
    """Returns [kind of device, level, name of the half type] of a checkpoint; an older one keeps no record of them."""
    words = str(saved.get(RECORD)).split()
    if len(words) == 3 and words[0] in DEVICES and words[1] in OPT_LEVELS and words[2] in HALVES:
        return words
    level, half = saved.get("opt_level"), saved.get("amp_dtype")
    return [device.type, *_meant(level if level in (*OPT_LEVELS, "auto") else None,
                                 half if half in tuple(HALVES) else None, device)]


def _meant(level, half, device):
    """Returns (level, name of the half type) that the two options mean on `device`."""
    if level is None:
        level = utils.device.default_opt_level(device)
    elif level == "auto":
        level = utils.device.best_opt_level(device)
    return level, half or _name(utils.device.default_half(device))


def _is_slow(level, device):
    return level != "O0" and utils.device.best_opt_level(device) == "O0"


def _cost(level):
    return (f"this processor ({processor()}) has no bfloat16 instructions: a training step takes {SLOWDOWN} "
            f"times as long in {level} as in O0.")


def _shown(device, level, half):
    return f"{level} on {device}" if level == "O0" else f"{level} with {half} on {device}"


def _name(half):
    return str(half).removeprefix("torch.")
