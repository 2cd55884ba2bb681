# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Skips an optimizer's step on the device, so that the host does not wait for the result of the overflow check.

torch's fused Adam can skip a step itself. torch-npu's NpuFusedAdam and torch's RMSprop cannot. An `if` on the host
would have to read the overflow from the device in every step. So these optimizers always step, and a skipped step is
undone on the device.
"""
import torch


@torch.no_grad()
def step_unless(overflow, optimizer):
    """Runs optimizer.step(). If `overflow` (0-d float tensor on the device) is 1, weights and moments stay unchanged.

    Undoing needs copies of the weights and moments for the duration of the step.

    The step counts of NpuFusedAdam and RMSprop are on the host and include skipped steps. RMSprop does not use its
    count. NpuFusedAdam computes its bias correction from it: if the first k steps are skipped, the next step is
    sqrt(k + 1) / (1 + beta1 + ... + beta1 ** k) times as large as it should be (beta2 near 1). A step skipped later has
    less effect, and the effect fades within about 1 / (1 - beta2) steps. torch-npu has no public way to correct the
    count without a wait.
    """
    if getattr(optimizer, "_step_supports_amp_scaling", False):  # torch's flag of optimizers that read found_inf
        optimizer.found_inf = overflow
        optimizer.step()
        return
    params = [p for group in optimizer.param_groups for p in group["params"]]
    before = [(p.clone(), {name: moment.clone() for name, moment in _moments(optimizer, p)}) for p in params]
    optimizer.step()
    skipped = overflow.bool()
    for p, (weights, moments) in zip(params, before, strict=True):
        p.copy_(torch.where(skipped, weights, p))
        for name, moment in _moments(optimizer, p):  # may be new tensors: the first step creates or moves them
            old = moments[name] if name in moments else torch.zeros_like(moment)
            moment.copy_(torch.where(skipped, old, moment))


def _moments(optimizer, param):
    """Returns [(name, tensor)] of the optimizer's states that are as large as `param`."""
    return [(name, value) for name, value in optimizer.state.get(param, {}).items()
            if torch.is_tensor(value) and value.shape == param.shape]
