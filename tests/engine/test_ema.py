# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Exponential moving average of weights: values computed by hand."""

import pytest
import torch
from torch import nn

from engine.ema import Ema


def test_average_by_hand():
    net = nn.BatchNorm2d(2)
    average = Ema(net, 0.75)
    for step, value in ((100, 2.0), (101, 4.0)):
        with torch.no_grad():
            net.weight.fill_(value)
            net.running_mean.fill_(value)
        average.update(net, step)
    assert average.net.weight.tolist() == [0.75 * (0.75 * 1 + 0.25 * 2) + 0.25 * 4] * 2
    assert average.net.running_mean.tolist() == [4.0] * 2 and not average.net.weight.requires_grad
    assert net.weight.tolist() == [4.0] * 2
    first = Ema(net, 0.999)  # in the first steps the decay is lower: 1/10, then 2/11
    with torch.no_grad():
        net.weight.fill_(8.0)
    for step, expected in ((0, 7.6), (1, 2 / 11 * 7.6 + 9 / 11 * 8)):
        first.update(net, step)
        assert first.net.weight.tolist() == pytest.approx([expected] * 2)
