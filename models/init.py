# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Initial weights of a network."""
from torch import nn

from models.values import INITS


def init_weights(net, init_type="normal", generator=None):
    """Initializes `net` in place and returns it; every bias becomes 0.

    normal: as published for SPARNet, convolution weights N(0, 0.02), normalization weights N(1, 0.02).
    kaiming: PyTorch's default convolution weights (kaiming uniform, He et al. 2015), normalization weights 1.
    Random numbers come from `generator`, by default torch's global one, in the order of `net.modules()`.
    """
    if init_type not in INITS:
        raise ValueError(f"init_type must be one of {', '.join(INITS)}, not {init_type!r}")
    for module in net.modules():
        convolution = isinstance(module, (nn.Conv2d, nn.ConvTranspose2d))
        if not convolution and not (isinstance(module, (nn.BatchNorm2d, nn.InstanceNorm2d)) and module.affine):
            continue
        weight = getattr(module, "weight_orig", module.weight)  # under spectral norm, `weight` is computed from it
        if init_type == "normal":
            nn.init.normal_(weight, 0.0 if convolution else 1.0, 0.02, generator=generator)
        elif convolution:
            nn.init.kaiming_uniform_(weight, a=5 ** 0.5, generator=generator)  # nn.Conv2d's default
        else:
            nn.init.ones_(weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    return net
