# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""A stand-in for Ascend's apex, written from its documentation and from how it was seen to behave.

Put tests/npusim/site_apex on the path to `import apex`. It works on the CPU and on the simulated NPU. The behaviour
that the project has to cope with:

- O2 halves every parameter and buffer except batch norm's, whatever a module asks for;
- with combine_grad, the first backward moves the whole storage of each gradient into a flat tensor. A gradient that
  is a view of a larger storage takes its neighbours along;
- every backward, not every step, unscales the gradients into the float32 masters' and zeroes the half ones;
- masters are made at the first scale_loss, from weights that are already half;
- all optimizers share one loss scaler, that of the last initialize. A static scale is never checked for overflow; a
  dynamic one skips the step on the rank that overflowed.

It says nothing about the speed or the numerics of the real one.
"""
from . import amp, optimizers

__all__ = ["amp", "optimizers"]
