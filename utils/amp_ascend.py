# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Ascend's apex with the methods of utils.amp.AmpOptimizer, for NPUs where apex is installed.

Only apex's public calls are used. apex creates its float32 masters at the first scale_loss, from weights that are
already half. So the exact float32 weights and the saved optimizer states are copied into the masters at that moment.

What apex does otherwise than utils/amp.py, and what follows from it:
- O2 halves all but batch norm. What a network wants in float32 is put back before the masters are made.
- combine_grad moves the whole storage of each gradient. A gradient that is a slice of a storage is cloned first.
- Every backward moves the gradients into the masters'. DistributedDataParallel, which averages the half gradients of
  the last micro-batch, would let the ranks drift apart. step() averages the masters' gradients instead.
- A static scale is not checked for overflow. step() checks it, which waits for the device once per step: apex's
  optimizers count steps on the host, so only the host can skip one.
"""
import contextlib

import torch

from utils import distributed
from utils.amp_state import FloatStatus, Overflows, check_names, float32_state_dict, float32_tensors
from utils.errors import UserError


class ApexOptimizer:
    """An NpuFusedAdam or NpuFusedRMSprop prepared by Ascend's apex. Arguments: see utils.amp.initialize."""

    needs_ddp = False

    def __init__(self, nets, optimizer, apex, opt_level, loss_scale, combine_grad, max_grad_norm, average):
        self._dynamic = loss_scale == "dynamic"
        if self._dynamic and distributed.world_size() > 1:  # apex skips a step only on the rank that overflowed
            raise UserError("--loss_scale dynamic does not go with Ascend's apex on several devices: give a number.")
        self._average = average
        self.amp, self.max_grad_norm, self._combines = apex.amp, max_grad_norm, combine_grad
        names = {id(p): f"{i}.{name}" for i, net in enumerate(nets) for name, p in net.named_parameters()}
        self._params = [p for group in optimizer.param_groups for p in group["params"]]
        self.names = [names[id(p)] for p in self._params]
        self._exact = [p.detach().clone() for p in self._params]
        self._state = None
        self.masters = dict(zip(self.names, self._exact, strict=True))
        kept = [(module, name, tensor, tensor.detach()) for net in nets
                for module, name, tensor in float32_tensors(net)]
        # apex prepares the networks in place, so the recipe's references to them stay valid.
        _, self.inner = self.amp.initialize(
            list(nets), optimizer, opt_level=opt_level, loss_scale=loss_scale, combine_grad=combine_grad, verbosity=0)
        for module, name, tensor, value in kept:
            if name in module._buffers:
                setattr(module, name, tensor)
            else:
                tensor.data = value
        for i, net in enumerate(nets):
            float32_state_dict(net, self.masters, f"{i}.")
        self._float_status = FloatStatus(self._params[0].device, not self._dynamic)  # a dynamic scale's is apex's
        self.skipped = self.in_a_row = 0

    def set_lr(self, lr):
        for group in self.inner.param_groups:
            group["lr"] = lr * group.get("lr_factor", 1.0)

    def zero_grad(self):
        self.inner.zero_grad()

    @contextlib.contextmanager
    def scale_loss(self, loss):
        with self.amp.scale_loss(loss, self.inner) as scaled:
            if self._exact is not None:
                self._take_over()
            yield scaled
            for p in self._params:
                if p.grad is not None and p.grad.untyped_storage().nbytes() != p.grad.nbytes:
                    p.grad = p.grad.clone()
        self._float_status.after_backward()

    @torch.no_grad()
    def _take_over(self):
        """Copies the exact weights into apex's new masters and loads the saved optimizer state."""
        masters = list(self.amp.master_params(self.inner))
        for master, exact, p in zip(masters, self._exact, self._params, strict=True):
            if master is not p:  # float32 weights are their own masters
                master.copy_(exact)
        self.masters.update(zip(self.names, masters, strict=True))
        self._exact = None
        if self._state:
            inner = self.inner.state_dict()
            inner["state"] = {  # same memory layout as the masters, as fused kernels need
                i: self._state["shared"] | {key: torch.empty_like(master).copy_(value)
                                            for key, value in self._state["params"][name].items()}
                for i, (name, master) in enumerate(zip(self.names, masters, strict=True))}
            self.inner.load_state_dict(inner)
            self._state = None

    def step(self):
        """Runs apex's step, which also copies the masters to the half weights.

        If a gradient is inf or nan under a static scale, the step is skipped and counted; a dynamic scale is apex's.
        """
        gradients = self._gradients()
        if self._average:
            self._average(gradients)
        norm = torch.nn.utils.get_total_norm(gradients)
        if not self._dynamic:
            overflowed = self._float_status.take() or not norm.isfinite().item()
            self.in_a_row = self.in_a_row + 1 if overflowed else 0
            self.skipped += overflowed
            if overflowed:
                return
        if self.max_grad_norm:
            torch._foreach_mul_(gradients, (self.max_grad_norm / (norm + 1e-6)).clamp(max=1.0))
        self.inner.step()

    def _gradients(self):
        """Returns the masters' gradients: flat tensors with combine_grad, else one per parameter."""
        if self._combines:
            return [flat for flat in self.inner.get_optimizer_combined_grads() if flat is not None]
        return [master.grad for master in self.amp.master_params(self.inner) if master.grad is not None]

    def overflows(self):
        """Returns Overflows. apex does not report the steps that a dynamic scale skipped: these counts are None."""
        counts = (None, None) if self._dynamic else (self.skipped, self.in_a_row)
        return Overflows(float(self.amp.state_dict()["loss_scaler0"]["loss_scale"]), *counts)

    def state_dict(self):
        """Returns the format of AmpOptimizer.state_dict, so a run can continue with or without apex."""
        if self._exact is not None:  # no step taken yet
            return self._state or {"params": {}, "shared": {}, "scaler": self._scaler()}
        params, shared = {}, {}
        for i, state in self.inner.state_dict()["state"].items():
            for key, value in state.items():
                if torch.is_tensor(value) and value.dim():
                    params.setdefault(self.names[i], {})[key] = value.contiguous().clone()
                else:
                    shared[key] = value.item() if torch.is_tensor(value) else value
        return {"params": params, "shared": shared, "scaler": self._scaler()}

    def _scaler(self):
        return {"apex": self.amp.state_dict(), "skipped": self.skipped, "in_a_row": self.in_a_row}

    def load_state_dict(self, state):
        check_names(state, self.names)
        self._state = state if state["params"] else None
        scaler = state["scaler"]
        self.skipped, self.in_a_row = (int(scaler.get(name, 0)) for name in ("skipped", "in_a_row"))
        if "apex" in scaler:
            self.amp.load_state_dict(scaler["apex"])
