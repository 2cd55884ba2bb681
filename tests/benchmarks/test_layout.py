# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""benchmarks/layout.py at toy size, and the plain form that it measures against."""
import copy

import pytest
import torch

from benchmarks import layout, weight_gradient
from benchmarks.plain_forms import plain_form
from models import create_network


@pytest.mark.parametrize("purpose", layout.PURPOSES)
def test_a_row(purpose, monkeypatch):
    words = ("--preset=sparnet_builtin", "--load_size=64", "--min_ch=4", "--max_ch=4", "--hourglass_ch=4",
             "--bottleneck_size=16", "--batch_size=2")
    monkeypatch.setitem(layout.RECIPES, "half", words)
    row = layout.measure("half", purpose, 2, batch_size=1)
    assert row["recipe"] == "half" and row["batch"] == 1 and row["chosen"] in layout.LAYOUTS
    assert all(row[f"{form} faster"] > 0 for form in layout.LAYOUTS)


@pytest.mark.parametrize("norm_type", ["bn", "in"])
def test_the_plain_form_is_the_same_network(norm_type):
    torch.manual_seed(0)
    net = create_network("sparnet_compact", norm_type=norm_type, res_depth=0).double()
    plain = plain_form(copy.deepcopy(net))
    replaced = {type(module).__name__ for module in plain.modules() if "forward" in vars(module)}
    assert replaced == {"UpConv2d", *(["InstanceNorm"] if norm_type == "in" else [])}
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    torch.testing.assert_close(net(x.contiguous(memory_format=torch.channels_last)), plain(x))


@pytest.mark.parametrize("stride", [1, 2])
def test_the_gradients_that_are_compared_are_the_same(stride):
    torch.manual_seed(0)
    forms = weight_gradient.jobs(2, 16, 24, 10, stride)
    found = [forms["own"](), *(forms[name]()[1] for name in ("contiguous", "channels_last"))]
    for gradient in found:
        assert gradient.shape == (24, 16, 3, 3) and (gradient - found[1]).abs().max() <= 1e-5 * found[1].abs().max()
