# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The learning rate as a pure function of progress: a checkpoint needs nothing of it."""
import math
from collections.abc import Iterable

# --scale_lr: the factor of the base learning rate for a number of devices.
LR_SCALES = {"none": lambda devices: 1.0, "linear": float, "sqrt": math.sqrt}
POLICIES = ("constant", "step", "cosine", "linear")


def lr_factor(step: int, total: int, policy: str, warmup: int = 0, decay_at: Iterable[float] = (),
              gamma: float = 0.5, final: float = 0.0) -> float:
    """Returns the factor of the base learning rate at `step` (0-based) of `total` steps.

    warmup: number of steps in which the factor rises linearly from near 0 to 1. policy: one of POLICIES; `step`
    multiplies by `gamma` at each of the fractions `decay_at` of the run, `cosine` and `linear` fall from 1 after the
    warm-up to `final` at the last step. Raises ValueError for another policy.
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if policy == "constant":
        return 1.0
    if policy == "step":
        return gamma ** sum(step >= fraction * total for fraction in decay_at)
    done = (step - warmup) / max(total - 1 - warmup, 1)
    if policy == "cosine":
        return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
    if policy == "linear":
        return final + (1 - final) * (1 - min(done, 1.0))
    raise ValueError(f"unknown learning rate policy {policy!r}")
