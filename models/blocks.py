# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Shared layers of the SPARNet family: normalization, reflection-padded convolutions, attention hourglass.

All tensors are [N, C, H, W], contiguous or channels_last. Module and parameter names follow the released
checkpoints (`conv2d`, `norm.norm`, `b1_4` ...), so they must not be renamed.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from models.convolution import Conv2d, conv_transpose2d

NORM_TYPES = ("bn", "in", "none")
RELU_TYPES = ("leakyrelu", "relu", "none")
SCALES = ("none", "down", "up")


def _check(what, value, allowed):
    if value not in allowed:
        raise ValueError(f"{what} must be one of {', '.join(allowed)}, not {value!r}")


class InstanceNorm(nn.InstanceNorm2d):
    """Affine instance norm without running statistics (Ulyanov et al., 2016), [N, C, H, W].

    On a CPU, torch converts channels_last images to the contiguous layout and back. Batch norm of each image separately
    computes the same and takes less than half the time (benchmarks/instance_norm.py).
    """

    def __init__(self, channels):
        super().__init__(channels, affine=True)

    def forward(self, x):
        if x.device.type != "cpu" or x.is_contiguous():
            return super().forward(x)
        return torch.cat([F.batch_norm(image, None, None, self.weight, self.bias, training=True, eps=self.eps)
                          for image in x.split(1)])


class Norm(nn.Module):
    """Batch norm ('bn') or affine instance norm without running statistics ('in') under the key `norm`."""

    def __init__(self, norm_type, channels):
        super().__init__()
        if norm_type == "bn":
            self.norm = nn.BatchNorm2d(channels)
        else:
            self.norm = InstanceNorm(channels)

    def forward(self, x):
        return self.norm(x)


def make_norm(norm_type, channels):
    """Returns the normalization called `norm_type` (see NORM_TYPES). Raises ValueError if it is unknown."""
    _check("norm_type", norm_type, NORM_TYPES)
    return nn.Identity() if norm_type == "none" else Norm(norm_type, channels)


def make_activation(relu_type, inplace=False):
    """Returns the activation called `relu_type` (see RELU_TYPES). Raises ValueError if it is unknown.

    inplace: overwrites the input, which nothing else may read, not even the backward pass.
    """
    _check("relu_type", relu_type, RELU_TYPES)
    if relu_type == "leakyrelu":
        return nn.LeakyReLU(0.2, inplace=inplace)
    return nn.ReLU(inplace=inplace) if relu_type == "relu" else nn.Identity()


def _upsampling_matrix():
    """Returns the [9, 16] matrix that turns a flat 3x3 kernel into the 4x4 kernel of `UpConv2d`."""
    # Along one axis, the kernel (a, b, c) after a nearest x2 upsampling is the transposed convolution with
    # (c, b + c, a + b, a): column k lists which of a, b, c reach output 2i + k - 1 from input i.
    axis = np.array([(0, 0, 1, 1), (0, 1, 1, 0), (1, 1, 0, 0)], np.float32)
    return torch.tensor(np.kron(axis, axis))  # torch.kron would import torch._dynamo on `meta` (models/shapes.py)


class UpConv2d(Conv2d):
    """Nearest x2 upsampling, reflection padding and a 3x3 convolution: [N, Cin, H, W] -> [N, Cout, 2H, 2W].

    Computed as one transposed 4x4 convolution of stride 2 on the small input: 4 multiplications per output and channel
    instead of 9, and no enlarged copy to write, pad and keep for the backward pass.
    The result differs from the plain form only by float rounding (about 1e-6 of the largest output).
    """

    def __init__(self, c_in, c_out, bias=True):
        super().__init__(c_in, c_out, 3, bias=bias)
        # A buffer, so that it follows the weights to their device and dtype; not part of the checkpoint.
        self.register_buffer("upsampling", _upsampling_matrix(), persistent=False)

    def forward(self, x):
        c_out, c_in = self.weight.shape[:2]
        kernel = (self.weight.flatten(2) @ self.upsampling).reshape(c_out, c_in, 4, 4).transpose(0, 1)
        # Reflecting the enlarged image by one pixel repeats the edge pixel of the small one.
        x = F.pad(x, (1, 1, 1, 1), mode="replicate")
        return conv_transpose2d(x, kernel, self.bias, stride=2, padding=3)


class ConvLayer(nn.Module):
    """Reflection-padded 3x3 convolution, then normalization and activation.

    scale: 'none' keeps H and W, 'down' halves them (rounded up) by stride 2, 'up' doubles them with nearest
    neighbours before the convolution. The convolution has a bias only if no normalization follows.
    """

    def __init__(self, c_in, c_out, scale="none", norm_type="none", relu_type="none"):
        super().__init__()
        _check("scale", scale, SCALES)
        bias = norm_type == "none"
        if scale == "up":
            self.pad = nn.Identity()
            self.conv2d = UpConv2d(c_in, c_out, bias=bias)
        else:
            self.pad = nn.ReflectionPad2d(1)
            self.conv2d = Conv2d(c_in, c_out, 3, stride=2 if scale == "down" else 1, bias=bias)
        self.norm = make_norm(norm_type, c_out)
        # In place is safe: the backward pass of a convolution or normalization does not need its output. It saves a
        # tenth of the memory kept for the backward pass.
        self.act = make_activation(relu_type, inplace=True)

    def forward(self, x):
        return self.act(self.norm(self.conv2d(self.pad(x))))


class HourGlass(nn.Module):
    """Spatial attention: [N, c_in, H, W] -> map [N, c_att, H, W] in [0, 1] (Chen et al., TIP 2020).

    Level k adds a branch of the same size (`b1_k`) to one that is halved (`b2_k`), goes through level k - 1
    (the innermost: `b2_plus_1`) and is doubled again (`b3_k`). H and W must exceed 2 ** depth, so that the
    innermost layer still has a pixel to reflect.
    """

    def __init__(self, depth, c_in, c_att, width=64, norm_type="bn", relu_type="leakyrelu"):
        super().__init__()
        if depth < 1:
            raise ValueError(f"an hourglass needs a depth of 1 or more, not {depth}")
        self.depth = depth
        kinds = {"norm_type": norm_type, "relu_type": relu_type}
        for level in range(depth, 0, -1):
            c_level = c_in if level == depth else width
            self.add_module(f"b1_{level}", ConvLayer(c_level, width, **kinds))
            self.add_module(f"b2_{level}", ConvLayer(c_level, width, scale="down", **kinds))
        self.b2_plus_1 = ConvLayer(width, width, **kinds)
        for level in range(1, depth + 1):
            self.add_module(f"b3_{level}", ConvLayer(width, width, scale="up", **kinds))
        self.out_block = nn.Sequential(ConvLayer(width, c_att), nn.Sigmoid())

    def forward(self, x):
        return self.out_block(self._level(self.depth, x))

    def _level(self, level, x):
        same, down, up = (getattr(self, f"{branch}_{level}") for branch in ("b1", "b2", "b3"))
        skip, low = same(x), down(x)
        low = self._level(level - 1, low) if level > 1 else self.b2_plus_1(low)
        high = up(low)
        if high.shape[2:] != skip.shape[2:]:  # odd sizes
            high = F.interpolate(high, size=skip.shape[2:], mode="nearest")
        return skip + high


class FaceAttentionUnit(nn.Module):
    """Residual block whose branch is weighted by an attention map (Chen et al., TIP 2020).

    [N, c_in, H, W] -> [N, c_out, H', W'] with H' = H, H / 2 ('down') or 2 H ('up').
    att_channels: 1: one map for all channels; c_out: one map per channel.
    """

    def __init__(self, c_in, c_out, scale, depth, att_channels, width=64, norm_type="bn",
                 relu_type="leakyrelu"):
        super().__init__()
        same = scale == "none" and c_in == c_out
        self.shortcut_func = nn.Identity() if same else ConvLayer(c_in, c_out, scale=scale)
        # Without a norm the activation would overwrite the block's input, which the shortcut reads too.
        self.preact_func = nn.Sequential(make_norm(norm_type, c_in),
                                         make_activation(relu_type, inplace=norm_type != "none"))
        # Enlarge first, shrink last, so that both convolutions work at the larger size.
        self.conv1 = ConvLayer(c_in, c_out, "up" if scale == "up" else "none", norm_type, relu_type)
        self.conv2 = ConvLayer(c_out, c_out, "down" if scale == "down" else "none", norm_type, "none")
        self.att_func = HourGlass(depth, c_out, att_channels, width, norm_type, relu_type)

    def forward(self, x):
        shortcut = self.shortcut_func(x)
        branch = self.conv2(self.conv1(self.preact_func(x)))
        return shortcut + branch * self.att_func(branch)
