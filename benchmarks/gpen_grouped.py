# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""GPEN's networks computed as public code does without its CUDA kernels: the baseline of benchmarks and tests.

Computes weights per sample and a grouped convolution with one group per sample. upfirdn2d inserts zeros, pads and
filters each channel at full size, including pixels dropped afterwards. Bias, leaky ReLU and its factor are separate
operations; noise is weighted, then concatenated. It is slow, but follows the definition step by step.
"""
import torch
from torch.nn import functional as F

from models import stylegan2


def grouped_form(net):
    """Makes `net` (a GPEN, its decoder, a discriminator or a layer) compute in the grouped form and returns it.

    Parameters and keys are unchanged.
    """
    for module in net.modules():
        form = FORMS.get(type(module))
        if form:
            module.forward = form.__get__(module)
    return net


def upfirdn2d(x, kernel, up=1, down=1, pad=(0, 0)):
    """Computes models.stylegan2.upfirdn2d step by step."""
    batch, channels, height, width = x.shape
    x = x.reshape(batch * channels, 1, height, 1, width, 1)
    x = F.pad(x, (0, up - 1, 0, 0, 0, up - 1)).reshape(batch * channels, 1, height * up, width * up)
    x = F.pad(x, (*pad, *pad))
    x = F.conv2d(x, kernel.flip(0, 1).to(x.dtype)[None, None])[:, :, ::down, ::down]
    return x.reshape(batch, channels, *x.shape[2:])


def leaky_relu(x, bias):
    return F.leaky_relu(x + bias.view(1, -1, *[1] * (x.dim() - 2)), stylegan2.SLOPE) * stylegan2.GAIN


def linear(layer, x):
    weight = layer.weight * layer.scale
    x = x.to(weight.dtype)
    if layer.activate:
        return leaky_relu(F.linear(x, weight), layer.bias * layer.lr_mul)
    return F.linear(x, weight, layer.bias * layer.lr_mul)


def modulated_conv(layer, x, latent, demodulate):
    """Computes the modulated convolution of `layer` with weights [N, c_out, c_in, size, size]."""
    batch, c_in, height, width = x.shape
    _, c_out, _, size, _ = layer.weight.shape
    style = layer.modulation(latent).view(batch, 1, c_in, 1, 1)
    weight = layer.scale * layer.weight * style
    if demodulate:
        weight = weight * torch.rsqrt(weight.square().sum((2, 3, 4), keepdim=True) + 1e-8)
    weight = weight.to(x.dtype)  # x may be in half precision; the style is float32
    x = x.reshape(1, batch * c_in, height, width)
    if layer.blur is None:
        y = F.conv2d(x, weight.view(batch * c_out, c_in, size, size), padding=size // 2, groups=batch)
    else:
        weight = weight.transpose(1, 2).reshape(batch * c_in, c_out, size, size)
        y = F.conv_transpose2d(x, weight, stride=2, groups=batch)
    y = y.view(batch, c_out, *y.shape[2:])
    return y if layer.blur is None else layer.blur(y)


def styled_conv(layer, x, latent, feature=None):
    y = modulated_conv(layer.conv, x, latent, demodulate=True)
    feature = torch.randn_like(y) if feature is None else feature
    return layer.activate(torch.cat([y, layer.noise.weight * feature], 1))


def to_rgb(layer, x, latent, skip=None):
    rgb = modulated_conv(layer.conv, x, latent, demodulate=False) + layer.bias
    return rgb if skip is None else rgb + layer.upsample(skip)


def conv_layer(layer, x):
    """Blurs at full size; then the convolution drops pixels by its stride, also with a 1x1 kernel."""
    for part in layer:
        if isinstance(part, stylegan2.Resample):
            x = upfirdn2d(x, part.kernel, pad=part.pad)
        elif isinstance(part, stylegan2.EqualConv2d):
            stride = 2 if isinstance(layer[0], stylegan2.Resample) else 1
            x = F.conv2d(x, part.weight * part.scale, stride=stride, padding=part.padding)
        else:
            x = part(x)
    return x


FORMS = {
    stylegan2.Resample: lambda layer, x: upfirdn2d(x, layer.kernel, layer.up, layer.down, layer.pad),
    stylegan2.BiasedLeakyReLU: lambda layer, x: leaky_relu(x, layer.bias),
    stylegan2.EqualLinear: linear,
    stylegan2.StyledConv: styled_conv,
    stylegan2.ToRGB: to_rgb,
    stylegan2.ConvLayer: conv_layer,
}
