"""Mixed precision with apex's call shape, in plain torch, the same on every device.

    net, optimizer = amp.initialize(net, optimizer, opt_level="O2", loss_scale=128.0, combine_grad=True)
    with amp.scale_loss(loss, optimizer) as scaled:
        scaled.backward()
    optimizer.step(); optimizer.zero_grad()

O0  float32 throughout.
O1  float32 weights, the forward pass under torch.autocast.
O2  weights in half except those of BatchNorm and of layers whose float32_parameters is true; inputs cast to half,
    outputs to float32; float32 masters.
    net.state_dict() is float32 (the masters), so checkpoints do not depend on the precision.

combine_grad keeps weights, gradients and the optimizer's states of a parameter group in flat tensors that the
network's parameters are views of, so that a step is a handful of launches instead of hundreds and one
reduction over one tensor finds an overflow. On an NPU with Ascend's apex, that does the work instead
(utils/amp_ascend.py).
"""
import contextlib

import torch

import utils.device
from utils import distributed
from utils.amp_ascend import ApexOptimizer
from utils.amp_state import Overflows, cast_network, check_names, half_parameters

ALIGNMENT = 16  # elements: every view starts on a 32-byte (half) or 64-byte (float32) border, as kernels like
MAX_SKIPS_IN_A_ROW = 25
GROWTH, BACKOFF, GROWTH_INTERVAL = 2.0, 0.5, 2000  # of the dynamic scale; apex's and torch's own numbers
FIRST_DYNAMIC_SCALE = 2.0 ** 16


def initialize(net, optimizer, opt_level="O2", loss_scale=128.0, combine_grad=True, half=torch.float16,
               max_grad_norm=0.0, average=None, buckets=True):
    """Prepare `net` (a module or a list of them) and `optimizer` over its parameters; return both.

    Load weights before this call (they are float32 here) and the optimizer's state after it. Copies of the
    network (an EMA) are to be made before it. loss_scale: a number, or "dynamic". max_grad_norm: gradients
    are clipped to this total norm; 0 clips nothing. average: for data-parallel training, a function that replaces a
    list of tensors by their means over the ranks. Combined gradients go through it in step(), one tensor a type, half
    ones in half; otherwise the optimizer's `needs_ddp` is True, and the networks are to be called through
    DistributedDataParallel. buckets=False is for networks that DDP cannot follow (several phases): gradients that are
    not combined go through `average` as well, a tensor a parameter.
    """
    nets = net if isinstance(net, (list, tuple)) else [net]
    device = next(nets[0].parameters()).device
    if opt_level != "O0" and utils.device.ascend_apex(device) is not None:
        wrapped = ApexOptimizer(nets, optimizer, utils.device.ascend_apex(device), opt_level, loss_scale,
                                combine_grad, max_grad_norm, average, buckets)
    else:
        wrapped = AmpOptimizer(nets, optimizer, opt_level, loss_scale, combine_grad, half, max_grad_norm, average,
                               buckets)
    return net, wrapped


def prepare_inference(net, opt_level, half):
    """`net` for restoring in the precision of `opt_level`, without an optimizer and masters."""
    cast_network(net, opt_level, half, masters={}, prefix="")
    return net


@contextlib.contextmanager
def scale_loss(loss, optimizer):
    """`loss` times the optimizer's loss scale, to call backward() on."""
    with optimizer.scale_loss(loss) as scaled:
        yield scaled


class AmpOptimizer:
    """A torch optimizer over flat float32 masters of a network's parameters."""

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
            lots = [params] if combine_grad else [[p] for p in params]
            blocks = [_Block(lot, names, low_ids, half) for lot in lots]
            group["params"] = [b.master for b in blocks]
            self.blocks += blocks
        for i, net in enumerate(nets):
            cast_network(net, opt_level, half, self.masters, f"{i}.")
        self._grads = [b.master.grad for b in self.blocks]
        self._low = [b for b in self.blocks if b.low is not None]
        self._travelling = [part for b in self.blocks for part in b.gradient_parts() if part.numel()]
        self._scaling = opt_level != "O0"
        self._dynamic = loss_scale == "dynamic"
        self._saturating = self._scaling and utils.device.saturates(self.device)
        if self._saturating:
            utils.device.clear_float_status()
        self._saturated = False  # in the backward passes since the last step
        first = FIRST_DYNAMIC_SCALE if self._dynamic else float(loss_scale)
        # On the device, so that a step needs no word from the host: scale, and the counts of skipped steps.
        self.scale, self.skipped, self.in_a_row = (
            torch.full((), value, device=self.device) for value in (first, 0.0, 0.0))
        self._growth = torch.zeros((), dtype=torch.int32, device=self.device)
        self.zero_grad()

    @property
    def device(self):
        return self.blocks[0].master.device

    @property
    def masters(self):
        """{'<net index>.<parameter name>': float32 view of the master}, whatever the precision."""
        return {name: view for b in self.blocks for name, view in b.master_views.items()}

    def set_lr(self, lr):
        """`lr` for every parameter group, times its "lr_factor" where it has one."""
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
        if self._saturating and utils.device.float_status_overflowed():
            self._saturated = True
            utils.device.clear_float_status()

    @torch.no_grad()
    def step(self):
        """Unscale, look for overflow, clip, update the masters, copy them to the half weights.

        A step whose gradients hold an inf or nan changes nothing and is counted (see `overflows`).
        """
        if self.needs_ddp:  # the gradients are where DDP has put them
            torch._foreach_copy_([b.grad_view for b in self.blocks], [b.param.grad for b in self.blocks])
        else:
            if self._average:
                self._average(self._travelling)
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
            if self._saturating and distributed.largest(int(self._saturated)):  # on any rank
                overflow = torch.ones_like(overflow)
            self._step_unless(overflow)
            self._saturated = False
        else:
            self.inner.step()
        if self._low:
            torch._foreach_copy_([b.low for b in self._low], [b.low_master for b in self._low])

    def _step_unless(self, overflow):
        """Take the step unless `overflow` (0-d float tensor) is 1, then count it and adapt the scale."""
        if getattr(self.inner, "_step_supports_amp_scaling", False):
            self.inner.found_inf = overflow  # torch's fused kernels look at it on the device
            self.inner.step()
        elif not overflow.item():  # NpuFusedAdam, RMSprop: only the host can hold the step back (a sync)
            self.inner.step()
        self.skipped += overflow
        self.in_a_row.add_(1).mul_(overflow)
        if self._dynamic:
            torch._amp_update_scale_(self.scale, self._growth, overflow, GROWTH, BACKOFF, GROWTH_INTERVAL)

    def overflows(self):
        """Overflows(scale, skipped, in_a_row). One wait for the device; meant for the log's rhythm."""
        if not self._scaling:
            return Overflows(1.0, 0, 0)
        scale, skipped, in_a_row = torch.stack([self.scale, self.skipped, self.in_a_row]).tolist()
        return Overflows(scale, int(skipped), int(in_a_row))

    def state_dict(self):
        """Optimizer states by parameter name, independent of precision, combining and device layout."""
        params, shared = {}, {}
        for block in self.blocks:
            for key, value in self.inner.state.get(block.master, {}).items():
                if torch.is_tensor(value) and value.shape == block.master.shape:
                    for name, view in block.views_of(value).items():
                        params.setdefault(name, {})[key] = view.contiguous().clone()
                else:  # the count of steps: a tensor here, a number there
                    shared[key] = value.item() if torch.is_tensor(value) else value
        scaler = {"scale": self.scale, "skipped": self.skipped, "in_a_row": self.in_a_row,
                  "growth": self._growth}
        return {"params": params, "shared": shared, "scaler": scaler}

    def load_state_dict(self, state):
        """Take over what state_dict() gave, also from another device or precision.

        Raises UserError when the parameters are not the same.
        """
        check_names(state, self.masters)
        inner = self.inner.state_dict()
        if state["params"]:
            inner["state"] = {i: self._block_state(b, state) for i, b in enumerate(self.blocks)}
            self.inner.load_state_dict(inner)
        scaler = state["scaler"]
        if "apex" in scaler:  # its counts are its own
            return
        for mine, saved in ((self.skipped, scaler["skipped"]), (self.in_a_row, scaler["in_a_row"]),
                            (self._growth, scaler["growth"])):
            mine.copy_(saved)
        if self._dynamic:  # a static scale is what the command line says
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
    """Parameters laid end to end in one flat float32 master: first those in half precision, then the others.

    Every parameter's data and grad become views: of `low` and `low_grad` (half) or of `master` and its grad.
    They share its storage object, which they follow when NpuFusedAdam gives that another memory.
    """

    def __init__(self, params, names, low_ids, half):
        params = sorted(params, key=lambda p: id(p) not in low_ids)  # stable: half first
        self._places, total, low_total = [], 0, 0
        for p in params:
            self._places.append((names[id(p)], total, p.shape, p.stride()))
            total += -(-p.numel() // ALIGNMENT) * ALIGNMENT
            if id(p) in low_ids:
                low_total = total
        device = params[0].device
        self.master = torch.zeros(total, device=device)
        self.master.grad = torch.zeros_like(self.master)
        self.master_views = self.views_of(self.master)
        grads = self.views_of(self.master.grad)
        self.param, self.grad_view = params[0], next(iter(grads.values()))  # of a block of one
        self.low = None
        if low_total:
            self.low = torch.zeros(low_total, device=device, dtype=half)
            self.low_grad = torch.zeros_like(self.low)
            self.low_master, self.low_master_grad = self.master[:low_total], self.master.grad[:low_total]
        for p, (name, start, shape, stride) in zip(params, self._places, strict=True):
            self.master_views[name].copy_(p.detach())
            if id(p) in low_ids:
                p.data = self.low.as_strided(shape, stride, start).copy_(p.detach())
                p.grad = self.low_grad.as_strided(shape, stride, start)
            else:
                p.data = self.master_views[name]
                p.grad = grads[name]

    def gradient_parts(self):
        """The gradient as it lies in memory after backward: the half part, then the float32 part."""
        if self.low is None:
            return [self.master.grad]
        return [self.low_grad, self.master.grad[self.low.numel():]]

    def views_of(self, flat):
        """{parameter name: its part of `flat`, in the parameter's own shape and memory layout}."""
        return {name: flat.as_strided(shape, stride, start) for name, start, shape, stride in self._places}
