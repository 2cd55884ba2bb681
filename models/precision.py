"""What a network or a loss needs where half precision cannot carry a number: float32, whatever the training runs in."""
import contextlib

import torch
from torch import nn
from torch.func import functional_call


def widened(tensor):
    """`tensor`, in float32 if it is float16 or bfloat16."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def without_autocast(x):
    """A context in which autocast (O1), where it is on, leaves what is computed on the device of `x` alone."""
    if torch.is_autocast_enabled(x.device.type):
        return torch.autocast(x.device.type, enabled=False)
    return contextlib.nullcontext()  # an exported network would keep a context that changes nothing


class _Beneath(nn.Module):
    """`net` without what mixed precision has put around its forward."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, *inputs, **options):
        return type(self.net).forward(self.net, *inputs, **options)


def in_float32(net, *inputs, **options):
    """net(*inputs, **options) in float32, whatever the precision of the training; gradients reach net's own weights.

    For losses that half precision cannot carry (R1, path length). Half weights are widened as they are.
    """
    wide = {f"net.{name}": widened(tensor) for name, tensor in (*net.named_parameters(), *net.named_buffers())}
    return functional_call(_Beneath(net), wide, tuple(widened(x) for x in inputs), options)
