# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Float32 for networks and losses whose values half precision cannot represent, in every training precision."""
import contextlib

import torch
from torch import nn
from torch.func import functional_call


def widened(tensor):
    """Returns `tensor`, cast to float32 if it is float16 or bfloat16."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def without_autocast(x):
    """Returns a context that disables autocast (O1) on the device of `x`."""
    if torch.is_autocast_enabled(x.device.type):
        return torch.autocast(x.device.type, enabled=False)
    return contextlib.nullcontext()  # export would record even a context without effect


class _Beneath(nn.Module):
    """Calls the class's forward of `net`, bypassing amp's cast wrapper."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, *inputs, **options):
        return type(self.net).forward(self.net, *inputs, **options)


def in_float32(net, *inputs, **options):
    """Computes net(*inputs, **options) in float32 in every training precision; gradients reach net's weights.

    For losses that half precision cannot represent (R1, path length). Half weights (not masters) are cast to float32.
    """
    wide = {f"net.{name}": widened(tensor) for name, tensor in (*net.named_parameters(), *net.named_buffers())}
    return functional_call(_Beneath(net), wide, tuple(widened(x) for x in inputs), options)
