# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Casts and checks that both mixed-precision back ends (utils/amp.py, utils/amp_ascend.py) share."""
import functools
from collections import namedtuple

import torch
from torch import nn

import utils.device
from utils import distributed
from utils.errors import UserError

Overflows = namedtuple("Overflows", "scale skipped in_a_row")


def stays_float32(module):
    """Returns whether O2 keeps the module in float32: BatchNorm, and modules whose float32_parameters is true."""
    return isinstance(module, nn.modules.batchnorm._BatchNorm) or getattr(module, "float32_parameters", False)


def half_parameters(net):
    """Returns the parameters that O2 keeps in half: all floating-point ones outside modules that stay float32."""
    return [p for module in net.modules() if not stays_float32(module)
            for p in module.parameters(recurse=False) if p.is_floating_point()]


def float32_tensors(net):
    """Returns [(module, name, parameter or buffer)] of the float32 tensors that O2 leaves in float32."""
    return [(module, name, tensor) for module in net.modules()
            for name, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
            if tensor.dtype == torch.float32
            and (stays_float32(module) or name in getattr(module, "float32_buffers", ()))]


def cast_network(net, opt_level, half, masters, prefix):
    """Makes net(x) compute as `opt_level` says, with float32 inputs and outputs; masters: see float32_state_dict."""
    if opt_level == "O2":
        _halve_the_rest(net, half)
        float32_state_dict(net, masters, prefix)
        net.forward = _cast_io(net.forward, half)
    elif opt_level == "O1":
        device = next(net.parameters()).device
        net.forward = _cast_io(torch.autocast(device.type, dtype=half)(net.forward), None)


def _halve_the_rest(net, half):
    """Casts all parameters, frozen ones included, and floating-point buffers to half, except in float32 modules."""
    for module in net.modules():
        if stays_float32(module):
            continue
        for p in module.parameters(recurse=False):
            if p.dtype == torch.float32:
                p.data = p.data.to(half)
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.dtype == torch.float32 and name not in getattr(module, "float32_buffers", ()):
                setattr(module, name, buffer.to(half))


def float32_state_dict(net, masters, prefix):
    """Makes net.state_dict() return float32, with each parameter replaced by its master.

    masters: {prefix + parameter name: float32 tensor}, read at every state_dict(). A parameter with several names (a
    shared module) has its master under the first name, as in net.named_parameters().
    """
    first_names = {id(p): name for name, p in net.named_parameters()}
    known_as = {name: first_names[id(p)] for name, p in net.named_parameters(remove_duplicate=False)}

    def hook(module, state, module_prefix, _):
        for key, value in state.items():
            if key.startswith(module_prefix) and torch.is_tensor(value) and value.is_floating_point():
                name = key[len(module_prefix):]
                state[key] = masters.get(prefix + known_as.get(name, name), value).detach().float()
    net.register_state_dict_post_hook(hook)


class FloatStatus:
    """The overflow flag of an NPU whose half arithmetic saturates (utils.device.saturates); never set elsewhere."""

    def __init__(self, device, scaling):
        self._watches = scaling and utils.device.saturates(device)
        self._overflowed = False
        if self._watches:
            utils.device.clear_float_status()

    def after_backward(self):
        if self._watches and utils.device.float_status_overflowed():
            self._overflowed = True
            utils.device.clear_float_status()

    def take(self):
        """Returns whether a backward pass on any rank has overflowed since the last call."""
        if not self._watches:
            return False
        overflowed, self._overflowed = self._overflowed, False
        return bool(distributed.largest(int(overflowed)))


def check_names(state, names):
    """Raises UserError if an optimizer's saved state has other parameters than `names` (an empty state is valid)."""
    differing = sorted(set(names) ^ set(state["params"]))
    if state["params"] and differing:
        raise UserError(f"the checkpoint's optimizer belongs to another network: {len(differing)} parameters differ, "
                        f"the first is {differing[0]}.")


def _cast_io(forward, half):
    """Wraps `forward`: casts floating-point inputs to `half` (None: no cast) and outputs to float32."""
    def cast(value, dtype):
        if torch.is_tensor(value) and value.is_floating_point():
            return value.to(dtype)
        if isinstance(value, (list, tuple)):
            return type(value)(cast(v, dtype) for v in value)
        if isinstance(value, dict):
            return {k: cast(v, dtype) for k, v in value.items()}
        return value

    @functools.wraps(forward)
    def wrapped(*args, **kwargs):
        if half is not None:
            args, kwargs = cast(args, half), cast(kwargs, half)
        return cast(forward(*args, **kwargs), torch.float32)
    return wrapped
