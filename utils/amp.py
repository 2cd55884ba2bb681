# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Mixed precision with apex's interface, in plain torch, the same on every device.

    net, optimizer = amp.initialize(net, optimizer, opt_level="O2", loss_scale=128.0, combine_grad=True)
    with amp.scale_loss(loss, optimizer) as scaled:
        scaled.backward()
    optimizer.step(); optimizer.zero_grad()

O0  float32 throughout.
O1  float32 weights, the forward pass under torch.autocast.
O2  weights in half precision, except BatchNorm and layers whose float32_parameters is true; inputs cast to half,
    outputs to float32; float32 master weights.
    net.state_dict() is float32 (the masters), so checkpoints do not depend on the precision.

combine_grad keeps the weights, gradients and optimizer states of each parameter group in flat tensors. The network's
parameters are views of these tensors. A step then needs a few kernel launches instead of hundreds, and one reduction
over one tensor detects an overflow. On an NPU with Ascend's apex, apex is used instead (utils/amp_ascend.py).
"""
import contextlib

import torch

import utils.device
from utils.amp_ascend import ApexOptimizer
from utils.amp_state import FloatStatus, Overflows, cast_network, check_names, half_parameters
from utils.optimizers import step_unless

ALIGNMENT = 16  # elements: every view starts at a multiple of 32 bytes (half) or 64 bytes (float32), for fast kernels
MAX_SKIPS_IN_A_ROW = 25
GROWTH, BACKOFF, GROWTH_INTERVAL = 2.0, 0.5, 2000  # of the dynamic scale; the defaults of apex and torch
FIRST_DYNAMIC_SCALE = 2.0 ** 16


def initialize(net, optimizer, opt_level="O2", loss_scale=128.0, combine_grad=True, half=torch.float16,
               max_grad_norm=0.0, average=None, buckets=True):
    """Prepares `net` (a module or a list) and `optimizer` over its parameters. Returns (net, wrapped optimizer).

    Load float32 weights and copy the network (EMA) before this call; load the optimizer's state after it.

    loss_scale: a number, or "dynamic".
    max_grad_norm: gradients are clipped to this total norm; 0: no clipping.
    average: for data-parallel training, a function that replaces each tensor of a list by its mean over the ranks.
        With combine_grad, step() applies it to the flat gradients (one tensor per dtype). Without combine_grad, the
        optimizer's `needs_ddp` is True: call the networks through DistributedDataParallel.
    buckets: False for recipes that DDP does not support (several phases); gradients that are not combined then
        go through `average` too, one tensor per parameter. With apex they always do.
    """
    nets = net if isinstance(net, (list, tuple)) else [net]
    device = next(nets[0].parameters()).device
    if opt_level != "O0" and utils.device.ascend_apex(device) is not None:
        wrapped = ApexOptimizer(nets, optimizer, utils.device.ascend_apex(device), opt_level, loss_scale,
                                combine_grad, max_grad_norm, average)
    else:
        wrapped = AmpOptimizer(nets, optimizer, opt_level, loss_scale, combine_grad, half, max_grad_norm, average,
                               buckets)
    return net, wrapped


def prepare_inference(net, opt_level, half):
    """Casts `net` to the precision of `opt_level` for inference (no optimizer, no masters) and returns it."""
    cast_network(net, opt_level, half, masters={}, prefix="")
    return net


@contextlib.contextmanager
def scale_loss(loss, optimizer):
    """Yields `loss` times the optimizer's loss scale; call backward() on the result."""
    with optimizer.scale_loss(loss) as scaled:
        yield scaled


class AmpOptimizer:
    """Wraps a torch optimizer so that it updates flat float32 masters of a network's parameters."""

    def __init__(self, nets, optimizer, opt_level, loss_scale, combine_grad, half, max_grad_norm, average, buckets):
        self.inner = optimizer
        self.needs_ddp = average is not None and buckets and not combine_grad
        self._average = None if self.needs_ddp else average
        self.max_grad_norm = max_grad_norm
        names = {id(p): f"{i}.{name}" for i, net in enumerate(nets) for name, p in net.named_parameters()}
        low_ids = set()
        if opt_level == "O2":
            low_ids = {id(p) for net in nets for p in half_parameters(net)}
        self.blocks = []
        for group in optimizer.param_groups:
            params = [p for p in group["params"] if p.requires_grad]
            chunks = [params] if combine_grad else [[p] for p in params]
            blocks = [_Block(chunk, names, low_ids, half) for chunk in chunks]
            group["params"] = [b.master for b in blocks]
            self.blocks += blocks
        for i, net in enumerate(nets):
            cast_network(net, opt_level, half, self.masters, f"{i}.")
        self._grads = [b.master.grad for b in self.blocks]
        self._low = [b for b in self.blocks if b.low is not None]
        self._to_average = [part for b in self.blocks for part in b.gradient_parts() if part.numel()]
        self._scaling = opt_level != "O0"
        self._dynamic = loss_scale == "dynamic"
        self._float_status = FloatStatus(self.device, self._scaling)
        first = FIRST_DYNAMIC_SCALE if self._dynamic else float(loss_scale)
        # On the device, so that a step does not wait for the host: scale and counts of skipped steps.
        self.scale, self.skipped, self.in_a_row = (
            torch.full((), value, device=self.device) for value in (first, 0.0, 0.0))
        self._growth = torch.zeros((), dtype=torch.int32, device=self.device)
        self.zero_grad()

    @property
    def device(self):
        return self.blocks[0].master.device

    @property
    def masters(self):
        """Returns {'<net index>.<parameter name>': float32 view of the master}, in every precision."""
        return {name: view for b in self.blocks for name, view in b.master_views.items()}

    def set_lr(self, lr):
        """Sets the learning rate of every parameter group to `lr` times the group's "lr_factor" (default 1)."""
        for group in self.inner.param_groups:
            group["lr"] = lr * group.get("lr_factor", 1.0)

    def zero_grad(self):
        torch._foreach_zero_(self._grads)
        if self.needs_ddp:
            for block in self.blocks:
                block.param.grad = None  # DDP points it at its bucket again
        elif self._low:
            torch._foreach_zero_([b.low_grad for b in self._low])

    @contextlib.contextmanager
    def scale_loss(self, loss):
        yield loss * self.scale if self._scaling else loss
        self._float_status.after_backward()

    @torch.no_grad()
    def step(self):
        """Unscales and clips gradients, updates the masters and copies them to the half weights.

        If a gradient is inf or nan, the step is skipped and counted (see `overflows`).
        """
        if self.needs_ddp:  # DDP's gradients are in its own buckets
            torch._foreach_copy_([b.grad_view for b in self.blocks], [b.param.grad for b in self.blocks])
        else:
            if self._average:
                self._average(self._to_average)
            if self._low:
                torch._foreach_copy_([b.low_master_grad for b in self._low], [b.low_grad for b in self._low])
        if self._scaling:
            torch._foreach_mul_(self._grads, self.scale.reciprocal())
        if self._scaling or self.max_grad_norm:
            norm = torch.nn.utils.get_total_norm(self._grads)
        if self.max_grad_norm:
            torch._foreach_mul_(self._grads, (self.max_grad_norm / (norm + 1e-6)).clamp(max=1.0))
        if self._scaling:
            overflow = norm.isfinite().logical_not().float()
            if self._float_status.take():
                overflow = torch.ones_like(overflow)
            self._step_unless(overflow)
        else:
            self.inner.step()
        if self._low:
            torch._foreach_copy_([b.low for b in self._low], [b.low_master for b in self._low])

    def _step_unless(self, overflow):
        """Steps unless `overflow` (0-d float tensor) is 1. Counts skipped steps and adapts a dynamic scale."""
        step_unless(overflow, self.inner)
        self.skipped += overflow
        self.in_a_row.add_(1).mul_(overflow)
        if self._dynamic:
            torch._amp_update_scale_(self.scale, self._growth, overflow, GROWTH, BACKOFF, GROWTH_INTERVAL)

    def overflows(self):
        """Returns Overflows(scale, skipped, in_a_row). Waits for the device: call it once per log interval."""
        if not self._scaling:
            return Overflows(1.0, 0, 0)
        scale, skipped, in_a_row = torch.stack([self.scale, self.skipped, self.in_a_row]).tolist()
        return Overflows(scale, int(skipped), int(in_a_row))

    def state_dict(self):
        """Returns optimizer states by parameter name, independent of precision, combine_grad and memory layout."""
        params, shared = {}, {}
        for block in self.blocks:
            for key, value in self.inner.state.get(block.master, {}).items():
                if torch.is_tensor(value) and value.shape == block.master.shape:
                    for name, view in block.views_of(value).items():
                        params.setdefault(name, {})[key] = view.contiguous().clone()
                else:  # the step count: a tensor or a number, depending on the optimizer
                    shared[key] = value.item() if torch.is_tensor(value) else value
        scaler = {"scale": self.scale, "skipped": self.skipped, "in_a_row": self.in_a_row,
                  "growth": self._growth}
        return {"params": params, "shared": shared, "scaler": scaler}

    def load_state_dict(self, state):
        """Loads a result of state_dict(), also from another device or precision.

        Raises UserError if the parameters differ.
        """
        check_names(state, self.masters)
        inner = self.inner.state_dict()
        if state["params"]:
            inner["state"] = {i: self._block_state(b, state) for i, b in enumerate(self.blocks)}
            self.inner.load_state_dict(inner)
        scaler = state["scaler"]
        for mine, name in ((self.skipped, "skipped"), (self.in_a_row, "in_a_row"), (self._growth, "growth")):
            mine.fill_(scaler.get(name, 0))  # apex saves no growth, and no counts in older checkpoints
        if self._dynamic and "scale" in scaler:  # a static scale comes from the command line
            self.scale.copy_(scaler["scale"])

    @staticmethod
    def _block_state(block, state):
        merged = dict(state["shared"])
        for name in block.master_views:
            for key, value in state["params"][name].items():
                flat = merged.setdefault(key, torch.zeros_like(block.master))
                block.views_of(flat)[name].copy_(value)
        return merged


class _Block:
    """Parameters concatenated in one flat float32 master: first the half-precision ones, then the others.

    Every parameter's data and grad become views of `low` and `low_grad` (half) or of `master` and its grad. They
    share the flat tensor's storage object, so they stay valid when NpuFusedAdam replaces that storage's memory.
    """

    def __init__(self, params, names, low_ids, half):
        params = sorted(params, key=lambda p: id(p) not in low_ids)  # stable: half first
        self._layout, total, low_total = [], 0, 0
        for p in params:
            self._layout.append((names[id(p)], total, p.shape, p.stride()))
            total += -(-p.numel() // ALIGNMENT) * ALIGNMENT
            if id(p) in low_ids:
                low_total = total
        device = params[0].device
        self.master = torch.zeros(total, device=device)
        self.master.grad = torch.zeros_like(self.master)
        self.master_views = self.views_of(self.master)
        grads = self.views_of(self.master.grad)
        self.param, self.grad_view = params[0], next(iter(grads.values()))  # for blocks of one
        self.low = None
        if low_total:
            self.low = torch.zeros(low_total, device=device, dtype=half)
            self.low_grad = torch.zeros_like(self.low)
            self.low_master, self.low_master_grad = self.master[:low_total], self.master.grad[:low_total]
        for p, (name, start, shape, stride) in zip(params, self._layout, strict=True):
            self.master_views[name].copy_(p.detach())
            if id(p) in low_ids:
                p.data = self.low.as_strided(shape, stride, start).copy_(p.detach())
                p.grad = self.low_grad.as_strided(shape, stride, start)
            else:
                p.data = self.master_views[name]
                p.grad = grads[name]

    def gradient_parts(self):
        """Returns the flat gradients that backward fills: the half part if any, then the float32 part."""
        if self.low is None:
            return [self.master.grad]
        return [self.low_grad, self.master.grad[self.low.numel():]]

    def views_of(self, flat):
        """Returns {parameter name: its view of `flat`, in the parameter's shape and memory layout}."""
        return {name: flat.as_strided(shape, stride, start) for name, start, shape, stride in self._layout}
