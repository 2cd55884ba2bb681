# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""apex.amp of the stand-in; see apex/__init__.py."""
import contextlib
import functools
import sys

import torch

__all__ = ["initialize", "load_state_dict", "master_params", "scale_loss", "state_dict"]


class _Scaler:
    def __init__(self, loss_scale):
        self.dynamic = loss_scale == "dynamic"
        self.scale, self.unskipped = 2.0 ** 16 if self.dynamic else float(loss_scale), 0

    def update(self, overflowed):
        self.unskipped = 0 if overflowed else self.unskipped + 1
        if overflowed:
            self.scale /= 2
        elif self.unskipped == 2000:
            self.scale, self.unskipped = self.scale * 2, 0


_scaler = _Scaler(1.0)


def state_dict():
    return {"loss_scaler0": {"loss_scale": _scaler.scale, "unskipped": _scaler.unskipped}}


def load_state_dict(state):
    _scaler.scale, _scaler.unskipped = state["loss_scaler0"]["loss_scale"], state["loss_scaler0"]["unskipped"]


def initialize(models, optimizers, opt_level="O1", loss_scale=None, combine_grad=False, verbosity=1):
    global _scaler
    _scaler = _Scaler(loss_scale)
    for model in models:
        if opt_level == "O2":
            _halve(model)
        model.forward = (_half_in_float_out if opt_level == "O2" else _autocast)(model)
    optimizers._stash = _Stash(optimizers, opt_level == "O2", combine_grad)
    return models, optimizers


def _halve(model):
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            continue
        for p in module.parameters(recurse=False):
            p.data = p.data.half() if p.is_floating_point() else p.data
        for name, b in module.named_buffers(recurse=False):
            if b.is_floating_point():
                setattr(module, name, b.half())


def _converted(value, dtype):
    if torch.is_tensor(value) and value.is_floating_point():
        return value.to(dtype)
    if isinstance(value, (list, tuple)):
        return type(value)(_converted(v, dtype) for v in value)
    return {k: _converted(v, dtype) for k, v in value.items()} if isinstance(value, dict) else value


def _half_in_float_out(model):
    inner = model.forward

    @functools.wraps(inner)
    def forward(*args, **kwargs):
        return _converted(inner(*_converted(args, torch.half), **_converted(kwargs, torch.half)), torch.float)
    return forward


def _autocast(model):
    inner = torch.autocast(next(model.parameters()).device.type, dtype=torch.half)(model.forward)
    return lambda *args, **kwargs: _converted(inner(*args, **kwargs), torch.float)


def master_params(optimizer):
    yield from optimizer._stash.optimizer_params()


@contextlib.contextmanager
def scale_loss(loss, optimizer):
    stash = optimizer._stash
    stash.prepare()
    yield loss.float() * _scaler.scale
    stash.after_backward()


class _Stash:
    """What apex keeps with an optimizer, whose step and zero_grad it replaces."""

    def __init__(self, optimizer, with_masters, combine_grad):
        self.optimizer, self.with_masters, self.combine_grad = optimizer, with_masters, combine_grad
        self.prepared = self.combined = self.skips = False
        self.inner_step = optimizer.step
        self.pairs, self.full = [], []  # (half parameter, its master); float32 parameters
        optimizer.step, optimizer.zero_grad = self.step, self.zero_grad
        optimizer.get_optimizer_combined_grads = self.get_optimizer_combined_grads

    def prepare(self):
        if not self.prepared:
            self.prepared = True
            for group in self.optimizer.param_groups:
                for i, p in enumerate(group["params"]):
                    if p.dtype == torch.half and self.with_masters:
                        group["params"][i] = p.detach().clone().float().requires_grad_()
                        self.pairs.append((p, group["params"][i]))
                    else:
                        self.full.append(p)
        self.earlier = [None if g is None else g.clone() for g in self.full_grads()]
        for g in self.full_grads():
            if g is not None:
                g.zero_()

    def optimizer_params(self):
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def full_grads(self):
        return [self.flat_full] if self.combined else [p.grad for p in self.full]

    @torch.no_grad()
    def after_backward(self):
        if self.combine_grad and not self.combined:
            self._combine()
        if self.combined:
            self._unscale([self.flat_half], [self.flat_master])
        else:
            pairs = [(half, master) for half, master in self.pairs if half.grad is not None]
            for _, master in pairs:
                if master.grad is None:
                    master.grad = torch.zeros_like(master)
            self._unscale([half.grad for half, _ in pairs], [master.grad for _, master in pairs])
        for grad, before in zip(self.full_grads(), self.earlier or [None], strict=True):
            if grad is not None:
                grad.div_(_scaler.scale)
                if before is not None:
                    grad.add_(before)
        if _scaler.dynamic:
            self.skips = not all(p.grad is None or p.grad.isfinite().all() for p in self.optimizer_params())
            _scaler.update(self.skips)

    def _combine(self):
        with_grad = [(half, master) for half, master in self.pairs if half.grad is not None]
        for _, master in with_grad:
            master.grad = torch.zeros_like(master)
        full = [p.grad for p in self.full if p.grad is not None]
        earlier = [before for before in self.earlier if before is not None]
        assert not earlier  # combined at the first backward
        self.flat_half = _combine_storages([half.grad for half, _ in with_grad])
        self.flat_master = _combine_storages([master.grad for _, master in with_grad])
        self.flat_full = _combine_storages(full)
        self.combined, self.earlier = True, []

    @staticmethod
    def _unscale(halves, masters):
        for half, master in zip(halves, masters, strict=True):
            if half is not None:
                master.add_(half.float() / _scaler.scale)
                half.zero_()

    def get_optimizer_combined_grads(self):
        if not self.combined:
            return []
        return [self.flat_master, self.flat_full] if self.with_masters else [self.flat_full]

    @torch.no_grad()
    def step(self):
        if self.skips:
            self.skips = False
            return
        if self.combined:  # the optimizers pair flat parameters with flat gradients
            sizes = [sum(p.numel() for p in self.optimizer_params() if p.grad is not None),
                     sum(flat.numel() for flat in self.get_optimizer_combined_grads() if flat is not None)]
            if sizes[0] != sizes[1]:
                raise RuntimeError(f"flat parameters of {sizes[0]} elements, flat gradients of {sizes[1]}")
        self.inner_step()
        for half, master in self.pairs:
            half.copy_(master)

    @torch.no_grad()
    def zero_grad(self):
        flats = [self.flat_half, self.flat_master, self.flat_full] if self.combined else [
            p.grad for p in (*(p for pair in self.pairs for p in pair), *self.full)]
        for flat in flats:
            if flat is not None:
                flat.zero_()


def _combine_storages(tensors):
    """Moves the whole storages of the tensors into one new flat tensor; returns it, or None for no tensors."""
    if not tensors:
        return None
    sizes = [t.untyped_storage().nbytes() // t.element_size() for t in tensors]
    flat = torch.zeros(sum(sizes), dtype=tensors[0].dtype, device=tensors[0].device)
    start = 0
    for t, size in zip(tensors, sizes, strict=True):
        whole = t.as_strided((size,), (1,), 0).clone()
        if t.device.type == "npu":
            sys.modules["npusim"]._C.change_data_ptr(t, flat, start)
        else:
            t.data = torch.frombuffer(flat.numpy(), dtype=t.dtype, count=size, offset=start * t.element_size()) \
                .as_strided(t.shape, t.stride(), t.storage_offset())
        t.as_strided((size,), (1,), 0).copy_(whole)
        start += size
    return flat
