"""Adam and RMSprop that skip a step on the device: no step waits for the host, and every operator is native on an NPU.

torch's fused Adam also skips on the device, but on an NPU its operator runs on the CPU. torch's RMSprop and Ascend's
NpuFusedAdam can only be skipped by the host, which would have to read the overflow at every step.

As in torch.amp.GradScaler's protocol, `found_inf` (a 0-d float tensor on the device, set by utils/amp.py before each
step) is 1 if a gradient is inf or nan. The step then changes nothing: gradients count as 0, moments decay by a factor
of 1, the step count stays. Gradients may be overwritten.
"""
import math

import torch


class _SkippingOptimizer(torch.optim.Optimizer):
    """Subclasses define `moments`, names of states as large as a parameter, and _update."""

    _step_supports_amp_scaling = True  # torch's name for: reads found_inf
    found_inf = None  # None: never skip
    moments = ()

    @torch.no_grad()
    def step(self):
        found_inf = self.found_inf
        for group in self.param_groups:
            for param in group["params"]:
                state = self._state_of(param)
                gradient = param.grad
                if group["weight_decay"]:
                    gradient = gradient.add(param, alpha=group["weight_decay"])
                if found_inf is None:
                    keeps = 1.0
                else:
                    gradient = gradient.masked_fill_(found_inf.bool(), 0.0)
                    keeps = 1.0 - found_inf
                state["step"] += keeps
                self._update(param, gradient, state, group, keeps)

    def _state_of(self, param):
        state = self.state[param]
        if not torch.is_tensor(state.get("step")):  # new, or loaded as a number
            state["step"] = torch.full((), float(state.get("step", 0)), device=param.device)
        for name in self.moments:
            if name not in state:
                state[name] = torch.zeros_like(param)
        return state

    def _decay(self, factor):
        """Returns the factor of a moment in this step: 1 if the step is skipped."""
        return factor if self.found_inf is None else self.found_inf.new_full((), factor).where(self.found_inf == 0, 1.0)

    def _update(self, param, gradient, state, group, keeps):
        """Updates the moments and `param`. keeps: 1, or 0 if the step is skipped (number or 0-d tensor)."""
        raise NotImplementedError


class Adam(_SkippingOptimizer):
    """Adam (Kingma & Ba, 2015); arguments as torch.optim.Adam's."""

    moments = ("exp_avg", "exp_avg_sq")

    def __init__(self, params, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def _update(self, param, gradient, state, group, keeps):
        beta1, beta2 = group["betas"]
        mean, square = state["exp_avg"], state["exp_avg_sq"]
        mean.mul_(self._decay(beta1)).add_(gradient, alpha=1 - beta1)
        square.mul_(self._decay(beta2)).addcmul_(gradient, gradient, value=1 - beta2)
        count = state["step"].clamp(min=1)  # not 0 if the first step is skipped: the corrections would be 0
        denominator = square.sqrt().div_(_bias_correction(beta2, count).sqrt()).add_(group["eps"])
        step_size = group["lr"] / _bias_correction(beta1, count) * keeps
        param.addcdiv_(mean * step_size, denominator, value=-1)


class RMSprop(_SkippingOptimizer):
    """RMSprop (Hinton, 2012); arguments and results as torch.optim.RMSprop's."""

    moments = ("square_avg",)

    def __init__(self, params, lr, alpha=0.99, eps=1e-8, weight_decay=0.0):
        super().__init__(params, {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay})

    def _update(self, param, gradient, state, group, keeps):
        square = state["square_avg"].mul_(self._decay(group["alpha"]))
        square.addcmul_(gradient, gradient, value=1 - group["alpha"])
        param.addcdiv_(gradient, square.sqrt().add_(group["eps"]), value=-group["lr"])


def _bias_correction(beta, count):
    """Returns 1 - beta ** count without the cancellation that this formula has in float32."""
    return -torch.expm1(count * (math.log(beta) if beta else -math.inf))
