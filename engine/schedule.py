"""Learning rate as a pure function of progress, so that nothing of it needs saving."""
import math

# What --scale_lr multiplies the base learning rate with, for a number of devices.
LR_SCALES = {"none": lambda devices: 1.0, "linear": float, "sqrt": math.sqrt}
POLICIES = ("constant", "step", "cosine", "linear")


def lr_factor(step, total, policy, warmup=0, decay_at=(), gamma=0.5, final=0.0):
    """What the base learning rate is multiplied with at `step` (0-based) of `total` steps.

    warmup: steps of linear rise from near 0 to 1. step: times gamma at each of the fractions `decay_at` of the
    run. cosine, linear: from 1 after the warm-up down to `final` at the last step.
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if policy == "constant":
        return 1.0
    if policy == "step":
        return gamma ** sum(step >= fraction * total for fraction in decay_at)
    done = (step - warmup) / max(total - 1 - warmup, 1)
    if policy == "cosine":
        return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
    if policy == "linear":
        return final + (1 - final) * (1 - min(done, 1.0))
    raise ValueError(f"unknown learning rate policy {policy!r}")
