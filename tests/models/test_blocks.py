# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Compares the project's instance norm with torch's: values and gradients, in both layouts."""
import pytest
import torch
from torch import nn

from models.blocks import InstanceNorm


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_it_is_torchs(layout):
    torch.manual_seed(0)
    own, reference = InstanceNorm(5).double(), nn.InstanceNorm2d(5, affine=True).double()
    nn.init.normal_(own.weight)
    nn.init.normal_(own.bias)
    reference.load_state_dict(own.state_dict())
    x, gradient = torch.randn(2, 3, 5, 9, 7, dtype=torch.float64)
    found = []
    for norm in (own, reference):
        picture = x.clone(memory_format=layout).requires_grad_()
        y = norm(picture)
        y.backward(gradient)
        found.append((y, picture.grad, norm.weight.grad, norm.bias.grad))
    assert found[0][0].is_contiguous(memory_format=layout)
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs)
    own.eval()  # eval mode uses the image's own statistics, as training does
    torch.testing.assert_close(own(x.clone(memory_format=layout)), found[0][0])
