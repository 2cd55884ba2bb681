"""Skips an optimizer's step on the device, so that the host need not read whether a gradient overflowed."""
import torch


@torch.no_grad()
def step_unless(optimizer, overflow):
    """Runs optimizer.step(), and puts everything that it changed back if `overflow` (0-d, on the device) is 1.

    For optimizers that do not know torch.amp's found_inf: Ascend's NpuFusedAdam, torch's RMSprop. Costs a copy of the
    parameters and moments. Their step count is a number of the host and counts a skipped step, too: NpuFusedAdam's bias
    corrections are then those of one step later.
    """
    before = {id(param): (param.clone(), {name: value.clone() for name, value in _moments(optimizer, param)})
              for group in optimizer.param_groups for param in group["params"]}
    optimizer.step()
    skips = overflow.bool()
    for group in optimizer.param_groups:
        for param in group["params"]:
            value, moments = before[id(param)]
            param.copy_(torch.where(skips, value, param))
            for name, now in _moments(optimizer, param):
                now.copy_(torch.where(skips, moments.get(name, 0.0), now))  # the first step makes them; they begin at 0


def _moments(optimizer, param):
    """Returns [(name, tensor)] of the optimizer's states that are as large as the parameter."""
    return [(name, value) for name, value in optimizer.state.get(param, {}).items()
            if torch.is_tensor(value) and value.shape == param.shape and value.dim()]
