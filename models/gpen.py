# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""GPEN: Yang et al., "GAN Prior Embedded Network for Blind Face Restoration in the Wild", CVPR 2021."""
import torch
from torch import nn

from models.precision import widened
from models.stylegan2 import BatchDeviation, ConvLayer, EqualLinear, PixelNorm, ResBlock, StyledConv, ToRGB

WIDTHS = {4: 512, 8: 512, 16: 512, 32: 512, 64: 256, 128: 128, 256: 64, 512: 32, 1024: 16, 2048: 8}
MAPPING_LAYERS = 8


def sizes_of(size):
    """Returns [4, 8, ..., size]. Raises ValueError unless `size` is a power of two from 8 to 2048."""
    sizes = [s for s in WIDTHS if s <= size]
    if len(sizes) < 2 or sizes[-1] != size:
        raise ValueError(f"size must be a power of two from 8 to {max(WIDTHS)}, not {size}")
    return sizes


def channels_of(sizes, channel_multiplier, narrow):
    """Returns {image size: channels}. The multiplier applies above 32 pixels, `narrow` to all sizes.

    Raises ValueError if a width becomes 0.
    """
    channels = {size: int(WIDTHS[size] * (channel_multiplier if size > 32 else 1) * narrow) for size in sizes}
    if not all(channels.values()):
        raise ValueError(f"the network is too narrow: it has no channels at "
                         f"{min(s for s in sizes if not channels[s])} pixels")
    return channels


def consume(items):
    """Yields the list's items and removes them from it, so that each one's memory is freed after use."""
    while items:
        yield items.pop(0)


def luma(x):
    """Returns the luma [N, 1, H, W] (ITU-R 601) of RGB [N, 3, H, W]."""
    red, green, blue = x.split(1, dim=1)
    return 0.299 * red + 0.587 * green + 0.114 * blue


class ConstantInput(nn.Module):
    """The decoder's first input: a learned tensor [1, C, 4, 4]."""

    def __init__(self, channels):
        super().__init__()
        self.input = nn.Parameter(torch.randn(1, channels, 4, 4))


class Decoder(nn.Module):
    """The GAN prior: StyleGAN2's mapping and synthesis networks, with features concatenated where it adds noise."""

    def __init__(self, size, channels, style_dim):
        super().__init__()
        sizes = sizes_of(size)
        self.layers = 2 * len(sizes)  # number of latents; a convolution and the RGB layer after it share one
        self.style = nn.Sequential(PixelNorm(), *(
            EqualLinear(style_dim, style_dim, lr_mul=0.01, activate=True) for _ in range(MAPPING_LAYERS)))
        self.input = ConstantInput(channels[4])
        self.conv1 = StyledConv(channels[4], channels[4], style_dim)
        self.to_rgb1 = ToRGB(2 * channels[4], style_dim, upsample=False)
        self.convs = nn.ModuleList()
        self.to_rgbs = nn.ModuleList()
        for small, large in zip(sizes, sizes[1:], strict=False):
            self.convs.append(StyledConv(2 * channels[small], channels[large], style_dim, upsample=True))
            self.convs.append(StyledConv(2 * channels[large], channels[large], style_dim))
            self.to_rgbs.append(ToRGB(2 * channels[large], style_dim))

    def latents(self, z):
        """Maps z [N, style_dim] to w [N, layers, style_dim], one copy per layer."""
        return self.style(z).unsqueeze(1).repeat(1, self.layers, 1)

    def forward(self, latents, features=None):
        """Returns RGB [N, 3, size, size] in float32, about [-1, 1], from latents [N, layers, style_dim].

        features: an iterable of [N, channels, s, s] for s = 4, 8, ..., size; None: new random numbers for each layer
        in training mode, zeros otherwise.
        """
        features = iter([None] * (len(self.to_rgbs) + 1) if features is None else features)
        x = self.input.input.repeat(len(latents), 1, 1, 1)  # a copy, because the layers overwrite their input
        x = self.conv1(x, latents[:, 0], next(features))
        rgb = self.to_rgb1(x, latents[:, 1])
        for i, to_rgb in enumerate(self.to_rgbs):
            feature = next(features)  # not zip, which would keep a reference to the feature
            x = self.convs[2 * i](x, latents[:, 2 * i + 1], feature)
            x = self.convs[2 * i + 1](x, latents[:, 2 * i + 2], feature)
            rgb = to_rgb(x, latents[:, 2 * i + 3], rgb)
        return rgb


class GPEN(nn.Module):
    """The generator: an encoder passes its features at every size to a StyleGAN2 decoder.

    Input and output [N, 3, size, size], RGB in [-1, 1]; the input is the degraded face at full size. The output is not
    clipped, and is float32 in every precision.

    keep_luma: the output, before it is clipped, has the luma of the input (ITU-R 601); only its colours are the
    network's. Not published.
    """

    def __init__(self, size, channel_multiplier=2, narrow=1.0, style_dim=512, keep_luma=False):
        super().__init__()
        self.keep_luma = keep_luma
        sizes = sizes_of(size)[::-1]
        channels = channels_of(sizes, channel_multiplier, narrow)
        self.generator = Decoder(size, channels, style_dim)
        self.ecd0 = nn.Sequential(ConvLayer(3, channels[size], 1))
        for i, (large, small) in enumerate(zip(sizes, sizes[1:], strict=False), 1):
            self.add_module(f"ecd{i}", nn.Sequential(ConvLayer(channels[large], channels[small], 3, downsample=True)))
        self.final_linear = nn.Sequential(EqualLinear(channels[4] * 16, style_dim, activate=True))
        self.depth = len(sizes)

    def encode(self, x):
        """Encodes degraded faces. Returns (latents [N, layers, style_dim], features from 4 pixels to full size)."""
        features = []
        for i in range(self.depth):
            x = getattr(self, f"ecd{i}")(x)
            features.append(x)
        return self.generator.latents(self.final_linear(x.flatten(1))), features[::-1]

    def forward(self, x, return_latents=False):
        """Returns restored faces; with return_latents, (faces, latents), for path-length regularisation.

        If x is normal random numbers [N, layers, style_dim], the decoder alone generates the faces; layers with the
        same numbers share a style.
        """
        if x.dim() == 3:
            latents, features = self.generator.style(x.flatten(0, 1)).unflatten(0, x.shape[:2]), None
        else:
            latents, features = self.encode(x)
            features = consume(features)
        faces = self.generator(latents, features)
        if self.keep_luma and features is not None:
            faces = faces + luma(widened(x) - faces)
        return (faces, latents) if return_latents else faces


class Discriminator(nn.Module):
    """StyleGAN2's discriminator: [N, 3, size, size], RGB in [-1, 1] -> scores [N, 1] in float32.

    A score depends on the whole batch (BatchDeviation).
    """

    def __init__(self, size, channel_multiplier=2, narrow=1.0):
        super().__init__()
        sizes = sizes_of(size)[::-1]
        channels = channels_of(sizes, channel_multiplier, narrow)
        self.convs = nn.Sequential(ConvLayer(3, channels[size], 1), *(
            ResBlock(channels[large], channels[small]) for large, small in zip(sizes, sizes[1:], strict=False)))
        self.deviation = BatchDeviation()
        self.final_conv = ConvLayer(channels[4] + 1, channels[4], 3)
        self.final_linear = nn.Sequential(EqualLinear(channels[4] * 16, channels[4], activate=True),
                                          EqualLinear(channels[4], 1))

    def forward(self, x, return_features=False):
        """Returns the scores; with return_features, (scores, [activations after each halving of the image])."""
        features = []
        for block in self.convs:
            x = block(x)
            features.append(x)
        x = self.final_conv(self.deviation(x))
        scores = self.final_linear(x.flatten(1))
        return (scores, features[1:]) if return_features else scores
