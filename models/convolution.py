# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Convolutions of networks that are trained: torch's, with another gradient of the weights where torch's is slow.

On a CPU with AVX2 and without AVX-512, torch (oneDNN 3.12) convolves channels_last images faster than contiguous ones,
in the forward pass and for the gradient of the input; but it computes the gradient of the weights up to four times as
slowly, because it reads values of one channel, which lie far apart. There, this gradient is computed as products of
matrices (weight_gradient). It differs from torch's by float rounding only. Elsewhere nothing is changed.
"""
import torch
from torch import nn
from torch.nn import functional as F

from utils.processor import processor

FEWEST_CHANNELS = 16  # with fewer, or with small images, torch's gradient is not slower
FEWEST_PIXELS = 64
STRIP = 2 ** 16  # values of a strip of the image; it stays in the processor's second cache


class Conv2d(nn.Conv2d):
    """torch.nn.Conv2d for training: [N, c_in, H, W] -> [N, c_out, H', W']. Takes only the settings that it computes."""

    def __init__(self, c_in, c_out, size, stride=1, padding=0, bias=True):
        super().__init__(c_in, c_out, size, stride, padding, bias=bias)

    def _conv_forward(self, input, weight, bias):
        return conv2d(input, weight, bias, self.stride[0], self.padding[0])


class ConvTranspose2d(nn.ConvTranspose2d):
    """torch.nn.ConvTranspose2d for training, with the settings that it computes; called without output_size."""

    def __init__(self, c_in, c_out, size, stride=1, padding=0, output_padding=0, bias=True):
        super().__init__(c_in, c_out, size, stride, padding, output_padding, bias=bias)

    def forward(self, input):
        return conv_transpose2d(input, self.weight, self.bias, self.stride[0], self.padding[0], self.output_padding[0])


def conv2d(x, weight, bias=None, stride=1, padding=0):
    """Returns F.conv2d: [N, Cin, H, W], [Cout, Cin, size, size] -> [N, Cout, H', W'], float."""
    if _is_slow(x, weight):
        return _Convolution.apply(x, weight, bias, stride, padding, False, 0)
    return F.conv2d(x, weight, bias, stride, padding)


def conv_transpose2d(x, weight, bias=None, stride=1, padding=0, output_padding=0):
    """Returns F.conv_transpose2d: [N, Cin, H, W], [Cin, Cout, size, size] -> [N, Cout, H', W'], float."""
    if _is_slow(x, weight):
        return _Convolution.apply(x, weight, bias, stride, padding, True, output_padding)
    return F.conv_transpose2d(x, weight, bias, stride, padding, output_padding)


def _is_slow(x, weight):
    """Returns whether torch's gradient of `weight` is needed and slow."""
    return (x.device.type == "cpu" and torch.is_grad_enabled() and weight.requires_grad
            and x.dtype == weight.dtype == torch.float32 and weight.shape[-1] > 1
            and min(weight.shape[:2]) >= FEWEST_CHANNELS and x.shape[2] * x.shape[3] >= FEWEST_PIXELS
            and x.is_contiguous(memory_format=torch.channels_last) and _has_avx2_alone()
            and not torch.is_autocast_enabled("cpu") and not torch.compiler.is_compiling()
            and not torch.jit.is_tracing())


def _has_avx2_alone():
    abilities = processor().abilities
    return "AVX2" in abilities and "AVX-512" not in abilities


class _Convolution(torch.autograd.Function):
    """aten's convolution; its first derivative uses weight_gradient, higher derivatives are aten's."""

    @staticmethod
    def forward(ctx, x, weight, bias, stride, padding, transposed, output_padding):
        ctx.save_for_backward(x, weight)
        ctx.bias_sizes = None if bias is None else list(bias.shape)
        ctx.settings = (stride, stride), (padding, padding), (1, 1), transposed, (output_padding, output_padding), 1
        return torch.convolution(x, weight, bias, *ctx.settings)

    @staticmethod
    def backward(ctx, gradient):
        x, weight = ctx.saved_tensors
        by_x, by_weight, by_bias = ctx.needs_input_grad[:3]
        if torch.is_grad_enabled():  # create_graph: aten's can be differentiated again
            own, wanted = False, (by_x, by_weight, by_bias)
        else:
            own, wanted = by_weight, (by_x, False, False)
        found = list(torch.ops.aten.convolution_backward(gradient, x, weight, ctx.bias_sizes, *ctx.settings, wanted))
        if own:
            (stride, _), (padding, _), _, transposed, *_ = ctx.settings
            large, small = (gradient, x) if transposed else (x, gradient)
            found[1] = weight_gradient(large, small, weight.shape[-1], stride, padding)
            found[2] = gradient.sum((0, 2, 3)) if by_bias else None  # with torch's, it would compute the weights' too
        return *found, None, None, None, None


def weight_gradient(large, small, size, stride, padding):
    """Returns the sums over images and pixels p of small[i, p] large[j, stride p + tap - padding].

    Shape: [channels i of `small`, channels j of `large`, size, size].

    This is the gradient of the weights of a convolution of `large`, [N, C, H, W], with `small` as the gradient of its
    output, or of a transposed convolution of `small` with `large` as that gradient.

    In channels_last, the taps of one row of the kernel lie beside each other in memory. So for each row, a strip of the
    image becomes a matrix [pixels, size * c_large] by one copy, and the sum is one product of matrices.
    """
    if padding:
        large = F.pad(large, (padding,) * 4)
    large = large.contiguous(memory_format=torch.channels_last)
    of_batch, _, of_row, of_column = large.stride()
    small = small.permute(0, 2, 3, 1).contiguous()
    count, height, width, c_small = small.shape
    c_large = large.shape[1]
    wide = size * c_large
    total = large.new_zeros(size, c_small, wide)
    rows = max(1, STRIP // (max(c_large, c_small) * width))
    for image in range(count):
        for top in range(0, height, rows):
            strip = small[image, top:top + rows].flatten(0, 1).T
            here = min(rows, height - top)
            for first in range(min(stride, size)):  # taps first, first + stride, ... read the same rows
                sums = total[first::stride]
                columns = large.as_strided(
                    (here + len(sums) - 1, width, wide), (stride * of_row, stride * of_column, 1),
                    image * of_batch + (top * stride + first) * of_row).contiguous()
                by_tap = columns.as_strided((len(sums), here * width, wide), (width * wide, wide, 1))
                torch.baddbmm(sums, strip.expand(len(sums), *strip.shape), by_tap, out=sums)
    return total.unflatten(2, (size, c_large)).permute(1, 3, 0, 2)
