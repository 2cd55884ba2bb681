# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The networks computed layer by layer as their papers describe them: the baseline of benchmarks and tests.

Plain torch modules in the contiguous layout: a 2x enlargement is an enlarged copy, padded and convolved; instance norm
and the gradients of convolutions are torch's own. GPEN: benchmarks/gpen_grouped.py.
"""
from torch.nn import functional as F

from benchmarks import gpen_grouped
from models import blocks


def plain_form(net):
    """Makes `net` compute in the plain form and returns it. Parameters and keys are unchanged."""
    for module in net.modules():
        form = FORMS.get(type(module))
        if form:
            module.forward = form.__get__(module)
    return net


def enlarged_conv(layer, x):
    x = F.interpolate(x, scale_factor=2, mode="nearest")
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), layer.weight, layer.bias)


FORMS = {
    blocks.UpConv2d: enlarged_conv,
    blocks.InstanceNorm: lambda layer, x: F.instance_norm(x, weight=layer.weight, bias=layer.bias, eps=layer.eps),
    **gpen_grouped.FORMS,
}
