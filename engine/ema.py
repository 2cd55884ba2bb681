"""Exponential moving average of a network's weights."""
import copy

import torch


class Ema:
    """Float32 moving average of `net`: average = decay * average + (1 - decay) * net; buffers are copied unchanged.

    The decay is limited to (1 + step) / (10 + step) in the first steps. Without this limit, at 0.999, the untrained
    weights would still have a weight of 12 % after 2,125 steps (18.8 dB in validation there; 25.6 dB without an
    average). Create it before mixed precision is applied to `net`, and call `update` after each step.
    """

    def __init__(self, net: torch.nn.Module, decay: float) -> None:
        self.net = copy.deepcopy(net).requires_grad_(False).eval()
        self.decay = decay
        self._pairs = None

    @torch.no_grad()
    def update(self, net: torch.nn.Module, step: int) -> None:
        """Updates the average from `net` after step `step` (0-based)."""
        if self._pairs is None:  # built after the first step: only then are the float32 masters in their final tensors
            masters, buffers = net.state_dict(), dict(net.named_buffers())
            self._pairs = (
                [p for _, p in self.net.named_parameters()], [masters[name] for name, _ in self.net.named_parameters()],
                [b for _, b in self.net.named_buffers()], [buffers[name] for name, _ in self.net.named_buffers()])
        averaged, learned, copied, buffers = self._pairs
        torch._foreach_lerp_(averaged, learned, 1 - min(self.decay, (1 + step) / (10 + step)))
        if copied:
            torch._foreach_copy_(copied, buffers)
