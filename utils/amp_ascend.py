"""Ascend's apex with the methods of utils.amp.AmpOptimizer, for NPUs where apex is installed.

Only apex's public calls are used. apex creates its float32 masters at the first scale_loss, from weights that are
already half. So the exact float32 weights and the saved optimizer states are copied into the masters at that moment.
"""
import contextlib

import torch

from utils.amp_state import Overflows, check_names, float32_state_dict
from utils.errors import UserError


class ApexOptimizer:
    """An NpuFusedAdam or NpuFusedRMSprop prepared by Ascend's apex. Arguments: see utils.amp.initialize."""

    def __init__(self, nets, optimizer, apex, opt_level, loss_scale, combine_grad, max_grad_norm, average,
                 buckets):
        self.needs_ddp = average is not None and buckets
        self._average = None if self.needs_ddp else average
        if self._average and loss_scale == "dynamic":  # apex skips a step only on the rank that overflowed
            raise UserError("--loss_scale dynamic does not go with Ascend's apex and a recipe of several phases on "
                            "several devices: give a number.")
        self.amp, self.max_grad_norm = apex.amp, max_grad_norm
        names = {id(p): f"{i}.{name}" for i, net in enumerate(nets) for name, p in net.named_parameters()}
        self._params = [p for group in optimizer.param_groups for p in group["params"]]
        self.names = [names[id(p)] for p in self._params]
        self._exact = [p.detach().clone() for p in self._params]
        self._state = None
        self.masters = dict(zip(self.names, self._exact, strict=True))
        # apex prepares the networks in place, so the recipe's references to them stay valid.
        _, self.inner = self.amp.initialize(
            list(nets), optimizer, opt_level=opt_level, loss_scale=loss_scale, combine_grad=combine_grad, verbosity=0)
        for i, net in enumerate(nets):
            float32_state_dict(net, self.masters, f"{i}.")

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
        """Runs apex's step, which also copies the masters to the half weights. A static scale never skips a step."""
        if self._average:
            self._average([master.grad for master in self.amp.master_params(self.inner)])
        if self.max_grad_norm:
            torch.nn.utils.clip_grad_norm_(list(self.amp.master_params(self.inner)), self.max_grad_norm)
        self.inner.step()

    def overflows(self):
        """Returns Overflows. apex does not report how many steps it skipped: the two counts are None."""
        return Overflows(float(self.amp.state_dict()["loss_scaler0"]["loss_scale"]), None, None)

    def state_dict(self):
        """Returns the format of AmpOptimizer.state_dict, so a run can continue with or without apex."""
        if self._exact is not None:  # no step taken yet
            return self._state or {"params": {}, "shared": {}, "scaler": {"apex": self.amp.state_dict()}}
        params, shared = {}, {}
        for i, state in self.inner.state_dict()["state"].items():
            for key, value in state.items():
                if torch.is_tensor(value) and value.dim():
                    params.setdefault(self.names[i], {})[key] = value.contiguous().clone()
                else:
                    shared[key] = value.item() if torch.is_tensor(value) else value
        return {"params": params, "shared": shared, "scaler": {"apex": self.amp.state_dict()}}

    def load_state_dict(self, state):
        check_names(state, self.names)
        self._state = state if state["params"] else None
        if "apex" in state["scaler"]:
            self.amp.load_state_dict(state["scaler"]["apex"])
