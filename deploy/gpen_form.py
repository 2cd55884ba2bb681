# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""GPEN's inference form: the function of models/gpen.py with constant kernels, and no shapes that depend on the batch.

All layers of the decoder get the same latent, so it is computed once. The styles' part stays float32 where the images
are half.
"""
from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from models import stylegan2
from models.gpen import GPEN, luma
from models.stylegan2 import GAIN, SLOPE, EqualLinear, ModulatedConv2d, Resample, StyledConv, ToRGB


class GPENForm(nn.Module):
    """[N, 3, S, S] -> [N, 3, S, S], RGB in [-1, 1]: GPEN's restored faces, not clipped."""

    def __init__(self, network: GPEN) -> None:
        super().__init__()
        decoder = network.generator
        self.keep_luma = network.keep_luma
        self.encoder = nn.ModuleList(_Encode(getattr(network, f"ecd{i}")[0]) for i in range(network.depth))
        self.final = _Linear(network.final_linear[0])
        self.style = nn.Sequential(*(layer if isinstance(layer, stylegan2.PixelNorm) else _Linear(layer)
                                     for layer in decoder.style))
        self.constant = nn.Parameter(decoder.input.input.detach().clone())
        self.convs = nn.ModuleList(_Styled(layer) for layer in (decoder.conv1, *decoder.convs))
        self.to_rgbs = nn.ModuleList(RGB(layer) for layer in (decoder.to_rgb1, *decoder.to_rgbs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        given, features = x, []
        for layer in self.encoder:
            x = layer(x)
            features.append(x)
        latent = self.style(self.final(x.flatten(1)))
        x = self.convs[0](self.constant, latent, features.pop())
        rgb = self.to_rgbs[0](x, latent, None)
        for i, to_rgb in enumerate(self.to_rgbs[1:]):
            feature = features.pop()
            x = self.convs[2 * i + 1](x, latent, feature)
            x = self.convs[2 * i + 2](x, latent, feature)
            rgb = to_rgb(x, latent, rgb)
        return rgb + luma(given.to(rgb.dtype) - rgb) if self.keep_luma else rgb


class _Linear(nn.Linear):
    """EqualLinear with constant weights; float32 in every precision (HalfForm)."""

    def __init__(self, layer: EqualLinear) -> None:
        super().__init__(layer.weight.shape[1], layer.weight.shape[0])
        # The leaky ReLU is homogeneous: its gain goes into the weights.
        gain = GAIN if layer.activate else 1
        self.weight = nn.Parameter(layer.weight.detach() * (layer.scale * gain))
        self.bias = nn.Parameter(layer.bias.detach() * (layer.lr_mul * gain))
        self.activate = layer.activate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = super().forward(_cast(x, self.weight))
        return F.leaky_relu(y, SLOPE) if self.activate else y


class _Blur(nn.Module):
    """Resample of a known number of channels: its kernel is a constant depthwise one."""

    def __init__(self, layer: Resample, channels: int) -> None:
        super().__init__()
        self.up, self.pad = layer.up, layer.pad
        kernel = layer.kernel if self.up > 1 else layer.kernel.flip(0, 1)
        self.register_buffer("kernel", kernel.detach().expand(channels, 1, -1, -1).clone())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        channels, _, size, _ = self.kernel.shape
        if self.up == 1:
            return F.conv2d(x, self.kernel, padding=self.pad[0], groups=channels)
        # The layer's padding is the same on both sides of the enlarged image (models/stylegan2.py: upfirdn2d).
        return F.conv_transpose2d(_cast(x, self.kernel), self.kernel, stride=self.up, groups=channels,
                                  padding=size - 1 - self.pad[0])


class _Encode(nn.Module):
    """The encoder's blur, convolution and biased leaky ReLU."""

    def __init__(self, layers: stylegan2.ConvLayer) -> None:
        super().__init__()
        *blur, conv, activation = layers
        self.blur = _Blur(blur[0], conv.weight.shape[1]) if blur else nn.Identity()
        c_out, c_in, size, _ = conv.weight.shape
        self.conv = nn.Conv2d(c_in, c_out, size, conv.stride, conv.padding)
        self.conv.weight = nn.Parameter(conv.weight.detach() * (conv.scale * GAIN))
        self.conv.bias = nn.Parameter(activation.bias.detach() * GAIN)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.leaky_relu(self.conv(self.blur(x)), SLOPE)


class _Styled(nn.Module):
    """StyledConv: style, convolution, demodulation, concatenation with the encoder's feature, biased leaky ReLU."""

    def __init__(self, layer: StyledConv) -> None:
        super().__init__()
        conv: ModulatedConv2d = layer.conv
        self.modulation = _Linear(conv.modulation)
        weight = conv.weight.detach()[0]  # [c_out, c_in, 3, 3]
        power = weight.double().square().sum((2, 3)).T  # [c_in, c_out]
        norm = power.sum(0).amax().sqrt().clamp(min=1e-12)
        # float16 does not overflow: the norm and the style's largest value are divided out, as in models/stylegan2.py.
        self.kernel = nn.Parameter(weight / float(norm) if conv.blur is None else
                                   (weight / float(norm)).transpose(0, 1).contiguous())
        # Linear, so that it stays float32 with the other layers of the styles.
        self.power = nn.Linear(*power.shape, bias=False)
        self.power.weight = nn.Parameter((power / norm ** 2).T.float().contiguous())
        self.epsilon = 1e-8 / (float(norm) * conv.scale) ** 2
        self.blur = None if conv.blur is None else _Blur(conv.blur, weight.shape[0])
        self.noise = float(layer.noise.weight.detach()) * GAIN
        self.bias = nn.Parameter(layer.activate.bias.detach()[:, None, None] * GAIN)

    def forward(self, x: torch.Tensor, latent: torch.Tensor, feature: torch.Tensor) -> torch.Tensor:
        style = self.modulation(latent)
        largest = style.abs().amax(1, keepdim=True).clamp(min=1e-12)
        style = style / largest
        demodulation = GAIN * torch.rsqrt(self.power(style * style) + self.epsilon / (largest * largest))
        x = x * _cast(style, x)[:, :, None, None]
        x = F.conv2d(x, self.kernel, padding=1) if self.blur is None else \
            self.blur(F.conv_transpose2d(x, self.kernel, stride=2))
        x = torch.cat([x * _cast(demodulation, x)[:, :, None, None], feature * self.noise], 1)
        return F.leaky_relu(x + self.bias, SLOPE)


class RGB(nn.Module):
    """ToRGB: a 1x1 convolution with weights per face, added to the enlarged image of the layer before."""

    def __init__(self, layer: ToRGB) -> None:
        super().__init__()
        self.modulation = _Linear(layer.conv.modulation)
        self.kernel = nn.Parameter(layer.conv.weight.detach().reshape(1, 3, -1) * layer.conv.scale)
        self.bias = nn.Parameter(layer.bias.detach().clone())
        self.upsample = _Blur(layer.upsample, 3) if hasattr(layer, "upsample") else None

    def forward(self, x: torch.Tensor, latent: torch.Tensor, skip: torch.Tensor | None) -> torch.Tensor:
        weights = self.modulation(latent)[:, None] * _cast(self.kernel, latent)
        rgb = (_cast(weights, x) @ x.flatten(2)).unflatten(2, x.shape[2:])
        rgb = _cast(rgb, latent) + _cast(self.bias, latent)
        return rgb if skip is None else rgb + self.upsample(skip)


def _cast(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Returns `x` in the dtype of `like`; an exported graph has no cast where the two are the same."""
    return x if x.dtype == like.dtype else x.to(like.dtype)
