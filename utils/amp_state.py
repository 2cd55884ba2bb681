"""What both kinds of mixed precision (utils/amp.py, utils/amp_ascend.py) do to networks and report."""
import functools
from collections import namedtuple

import torch
from torch import nn

from utils.errors import UserError

Overflows = namedtuple("Overflows", "scale skipped in_a_row")


def stays_float32(module):
    """Whether O2 leaves the module's own parameters and buffers in float32: BatchNorm, and layers that say so."""
    return isinstance(module, nn.modules.batchnorm._BatchNorm) or getattr(module, "float32_parameters", False)


def half_parameters(net):
    """The parameters that O2 keeps in half: all floating ones but those of modules that stay in float32."""
    return [p for module in net.modules() if not stays_float32(module)
            for p in module.parameters(recurse=False) if p.is_floating_point()]


def cast_network(net, opt_level, half, masters, prefix):
    """Make net(x) take and give float32 while it computes as `opt_level` says; masters: see float32_state_dict."""
    if opt_level == "O2":
        _halve_the_rest(net, half)
        float32_state_dict(net, masters, prefix)
        net.forward = _cast_io(net.forward, half)
    elif opt_level == "O1":
        device = next(net.parameters()).device
        net.forward = _cast_io(torch.autocast(device.type, dtype=half)(net.forward), None)


def _halve_the_rest(net, half):
    """Frozen parameters and floating buffers follow the trained weights to half."""
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
    """Let net.state_dict() be float32, a parameter's master standing for it.

    masters: {prefix + parameter name: float32 tensor}, looked at anew by every state_dict(). A parameter of a module
    that stands in several places has its master under the first of its names, as in net.named_parameters().
    """
    first_names = {id(p): name for name, p in net.named_parameters()}
    known_as = {name: first_names[id(p)] for name, p in net.named_parameters(remove_duplicate=False)}

    def hook(module, state, module_prefix, _):
        for key, value in state.items():
            if key.startswith(module_prefix) and torch.is_tensor(value) and value.is_floating_point():
                name = key[len(module_prefix):]
                state[key] = masters.get(prefix + known_as.get(name, name), value).detach().float()
    net.register_state_dict_post_hook(hook)


def check_names(state, names):
    """UserError unless an optimizer's saved state is of the parameters called `names`, or of no step at all."""
    differing = sorted(set(names) ^ set(state["params"]))
    if state["params"] and differing:
        raise UserError(f"the checkpoint's optimizer belongs to another network: {len(differing)} parameters differ, "
                        f"the first is {differing[0]}.")


def _cast_io(forward, half):
    """`forward` with floating inputs cast to `half` (None: left alone) and floating outputs to float32."""
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
