# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Exponential moving average of a network's weights."""
import copy

import torch
from torch import nn


class Ema:
    """A float32 copy of `net` that follows it: copy = decay * copy + (1 - decay) * net; buffers are copied.

    In the first steps the decay is at most (1 + step) / (10 + step). With 0.999 throughout, the untrained weights would
    still make up 12 % after 2,125 steps (validation: 18.8 dB; without an average 25.6 dB). Create it before mixed
    precision changes `net`; call `update` after each step.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.net = copy.deepcopy(net).requires_grad_(False).eval()
        self.decay = decay
        self._pairs = None

    @torch.no_grad()
    def update(self, net: nn.Module, step: int) -> None:
        """Follows `net` after its step number `step`, counted from 0."""
        if self._pairs is None:  # after the first step: from then on the float32 masters keep their memory
            masters, buffers = net.state_dict(), dict(net.named_buffers())
            self._pairs = (
                [p for _, p in self.net.named_parameters()], [masters[name] for name, _ in self.net.named_parameters()],
                [b for _, b in self.net.named_buffers()], [buffers[name] for name, _ in self.net.named_buffers()])
        averaged, learned, copied, buffers = self._pairs
        torch._foreach_lerp_(averaged, learned, 1 - min(self.decay, (1 + step) / (10 + step)))
        if copied:
            torch._foreach_copy_(copied, buffers)
