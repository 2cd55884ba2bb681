# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""torch_npu.optim of the stand-in: NpuFusedAdam, which builds flat tensors and updates them in step().

It reproduces these limits of the real one (source of the wheel 2.13.0), which the project must work with:

- at the first step() or zero_grad() every parameter with a gradient moves, with its gradient, into one flat
  tensor per dtype. A parameter without a gradient at that moment is never updated;
- sizes are those of whole storages, so a parameter must own its storage and not be a view of a larger one;
- from then on gradients must stay in place: zero_grad(set_to_none=True) raises ValueError, and a replaced
  gradient is silently ignored;
- load_state_dict() works before the first step only: later the flat states are silently not rebuilt;
- state['step'] is an int, not a tensor; parameters are float32 or float16.
"""
import math

import torch

__all__ = ["NpuFusedAdam"]


class NpuFusedAdam(torch.optim.Optimizer):
    """Adam (Kingma and Ba 2015) with the formula and arguments of torch.optim.Adam.

    Raises ValueError for arguments out of range, TypeError for parameters that are not float32 or float16.
    """

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, amsgrad=False):
        if lr < 0.0:
            raise ValueError(f"Invalid learning rate: {lr}")
        if eps < 0.0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        for i, beta in enumerate(betas):
            if not 0.0 <= beta < 1.0:
                raise ValueError(f"Invalid beta parameter at index {i}: {beta}")
        if weight_decay < 0.0:
            raise ValueError(f"Invalid weight_decay value: {weight_decay}")
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
                                  "amsgrad": amsgrad})
        self.is_fused_optimizer = True
        self.is_params_grads_combined = False
        self.is_states_combined = False
        self._flat = []  # per group, a dict per dtype: parameters, and their flat values, gradients and states

    @torch.no_grad()
    def step(self, closure=None):
        loss = None if closure is None else closure()
        self._combine_params_and_grads()
        self._combine_states()
        for group, flats in zip(self.param_groups, self._flat, strict=True):
            for p in group["params"]:
                if p.grad is not None:
                    self.state[p]["step"] += 1
            for flat in flats:
                _adam(flat, group)
        return loss

    @torch.no_grad()
    def zero_grad(self, set_to_none=False):
        if set_to_none:
            raise ValueError("set_to_none is not supported in fused optimizers")
        self._combine_params_and_grads()
        for flats in self._flat:
            for flat in flats:
                flat["grad"].zero_()

    def _combine_params_and_grads(self):
        if self.is_params_grads_combined:
            return
        self._flat = []
        for group in self.param_groups:
            with_grad = [p for p in group["params"] if p.grad is not None]
            wrong = [p.dtype for p in with_grad if p.dtype not in (torch.float32, torch.float16)]
            if wrong:
                raise TypeError("Fused optimizer's parameters must be either float32 or float16, "
                                f"but received {wrong[0]}")
            lots = [[p for p in with_grad if p.dtype == dtype] for dtype in (torch.float32, torch.float16)]
            self._flat.append([
                {"params": lot, "param": _combine(lot), "grad": _combine([p.grad for p in lot])}
                for lot in lots if lot])
        self.is_params_grads_combined = any(self._flat)

    def _combine_states(self):
        if self.is_states_combined:
            return
        for group, flats in zip(self.param_groups, self._flat, strict=True):
            names = ["exp_avg", "exp_avg_sq"] + ["max_exp_avg_sq"] * group["amsgrad"]
            for flat in flats:
                for p in flat["params"]:
                    state = self.state[p]
                    state.setdefault("step", 0)
                    for name in names:  # copies a loaded state: it may be shared or have another layout
                        state[name] = state[name].clone() if name in state else torch.zeros_like(p)
                flat["step"] = self.state[flat["params"][0]]["step"]
                for name in names:
                    flat[name] = _combine([self.state[p][name] for p in flat["params"]])
        self.is_states_combined = self.is_params_grads_combined


def _combine(tensors):
    """Moves the tensors' storages with their values into one new flat tensor; returns it."""
    import torch_npu

    for t in tensors:
        if t.device.type != "npu":
            raise RuntimeError(f"Tensors to combine must be on NPU, got {t.device.type}.")
        if not t.is_contiguous():
            raise RuntimeError("Tensors to combine must be contiguous.")
    sizes = [torch_npu.get_storage_size(t) for t in tensors]
    flat = torch.zeros(sum(sizes), dtype=tensors[0].dtype, device=tensors[0].device)
    start = 0
    for t, size in zip(tensors, sizes, strict=True):
        value = t.clone()
        torch_npu.npu_change_data_ptr(t, flat, start)
        t.copy_(value)
        start += size
    return flat


def _adam(flat, group):
    beta1, beta2 = group["betas"]
    flat["step"] += 1
    correction1, correction2 = 1 - beta1 ** flat["step"], 1 - beta2 ** flat["step"]
    grad = flat["grad"]
    if group["weight_decay"] != 0:
        grad = grad.add(flat["param"], alpha=group["weight_decay"])
    flat["exp_avg"].mul_(beta1).add_(grad, alpha=1 - beta1)
    flat["exp_avg_sq"].mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
    second = flat["exp_avg_sq"]
    if group["amsgrad"]:
        second = torch.max(flat["max_exp_avg_sq"], second, out=flat["max_exp_avg_sq"])
    denominator = (second.sqrt() / math.sqrt(correction2)).add_(group["eps"])
    flat["param"].addcdiv_(flat["exp_avg"], denominator, value=-group["lr"] / correction1)
