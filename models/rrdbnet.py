# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""RRDBNet, which enlarges any picture 4 times (ESRGAN, Wang et al. 2018, arXiv:1809.00219, section 3.1).

Its layers have the names that published weights use; LAYERS translates the older ones.
"""
import torch
from torch import nn
from torch.nn import functional

from models.weights import WeightsError

BETA = 0.2  # share of a block's residual that is added
SLOPE = 0.2  # of the leaky ReLU
FACTOR = 4  # by which the picture is enlarged
LAYERS = (("RRDB_trunk.", "body."), ("trunk_conv.", "conv_body."), ("upconv1.", "conv_up1."),
          ("upconv2.", "conv_up2."), ("HRconv.", "conv_hr."), (".RDB", ".rdb"))


def _convolution(inputs, outputs):
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def _active(x):
    return functional.leaky_relu_(x, SLOPE)


class ResidualDenseBlock(nn.Module):
    """Five convolutions, each of which sees the input and the results of all before."""

    def __init__(self, features, growth):
        super().__init__()
        for number in range(1, 5):
            self.add_module(f"conv{number}", _convolution(features + (number - 1) * growth, growth))
        self.conv5 = _convolution(features + 4 * growth, features)

    def forward(self, x):
        seen = x
        for convolution in (self.conv1, self.conv2, self.conv3, self.conv4):
            seen = torch.cat([seen, _active(convolution(seen))], 1)
        return x + BETA * self.conv5(seen)


class RRDB(nn.Module):
    """Residual in residual dense block."""

    def __init__(self, features, growth):
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (ResidualDenseBlock(features, growth) for _ in range(3))

    def forward(self, x):
        return x + BETA * self.rdb3(self.rdb2(self.rdb1(x)))


class RRDBNet(nn.Module):
    """[N, 3, H, W] in [0, 1] -> [N, 3, 4H, 4W], about [0, 1], not clipped."""

    def __init__(self, features=64, blocks=23, growth=32):
        super().__init__()
        self.conv_first = _convolution(3, features)
        self.body = nn.Sequential(*(RRDB(features, growth) for _ in range(blocks)))
        self.conv_body, self.conv_up1, self.conv_up2, self.conv_hr = (_convolution(features, features)
                                                                      for _ in range(4))
        self.conv_last = _convolution(features, 3)

    def forward(self, x):
        x = self.conv_first(x)
        x = x + self.conv_body(self.body(x))
        for convolution in (self.conv_up1, self.conv_up2):
            x = _active(convolution(functional.interpolate(x, scale_factor=2, mode="nearest")))
        return self.conv_last(_active(self.conv_hr(x)))

    @classmethod
    def of_weights(cls, state):
        """Returns (an RRDBNet as large as the weights {key: tensor} are for, these with the keys of its layers).

        Raises WeightsError for weights of another network.
        """
        state = {_renamed(key): tensor for key, tensor in state.items()}
        first, growing = state.get("conv_first.weight"), state.get("body.0.rdb1.conv1.weight")
        if first is None or growing is None or first.ndim != 4 or growing.ndim != 4:
            raise WeightsError("the weights are not those of an RRDBNet, the network of ESRGAN and Real-ESRGAN: "
                               "conv_first and body.0.rdb1.conv1 are missing")
        if first.shape[1] != 3 or "conv_up2.weight" not in state:
            raise WeightsError(f"its RRDBNet does not enlarge {FACTOR} times: weights of x{FACTOR} are needed")
        blocks = {key.split(".")[1] for key in state if key.startswith("body.")}
        return cls(first.shape[0], len(blocks), growing.shape[0]), state


def _renamed(key):
    for old, new in LAYERS:
        key = key.replace(old, new)
    return key
