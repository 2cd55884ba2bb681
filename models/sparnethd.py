# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""SPARNetHD: SPARNet for 512 pixels with spectral normalisation, and its discriminator (Chen et al., TIP 2020)."""

from torch import nn
from torch.nn import functional as F

from models.blocks import ConvLayer
from models.sparnet import SPARNet
from models.spectral_norm import add_spectral_norm


class SPARNetHD(SPARNet):
    """SPARNet at 512 pixels: instance norm, every convolution spectrally normalised (keys weight_orig, _u, _v).

    Input and output [N, 3, in_size, in_size], RGB in [-1, 1]; the input is the degraded face at full size. Arguments
    are SPARNet's. The released widths are 102, 204, 408, 512; channel_multiple=16 makes them 96, 192, 384, 512.
    """

    def __init__(self, in_size=512, out_size=512, min_ch=32, max_ch=512, min_feat_size=32, norm_type="in", **others):
        super().__init__(in_size=in_size, out_size=out_size, min_ch=min_ch, max_ch=max_ch, min_feat_size=min_feat_size,
                         norm_type=norm_type, **others)
        add_spectral_norm(self)


class PatchDiscriminator(nn.Module):
    """One scale: [N, 3, H, W] -> ([features of each layer], score [N, 1, h, w], h and w about H / 16 - 2).

    The width doubles with each of `layers` halvings, from base_ch up to max_ch.
    """

    def __init__(self, base_ch=64, max_ch=512, layers=4, norm_type="in"):
        super().__init__()
        channels = [min(base_ch * 2 ** i, max_ch) for i in range(layers + 1)]
        self.model = nn.ModuleList([ConvLayer(3, channels[0], relu_type="leakyrelu")])
        self.model.extend(ConvLayer(c_in, c_out, "down", norm_type, "leakyrelu")
                          for c_in, c_out in zip(channels, channels[1:], strict=False))
        self.score_out = ConvLayer(channels[-1], 1)
        self.score_out.pad = nn.Identity()  # as published: only the score layer has no padding

    def forward(self, x):
        features = []
        for layer in self.model:
            x = layer(x)
            features.append(x)
        return features, self.score_out(x)


class MultiScaleDiscriminator(nn.Module):
    """PatchDiscriminators on the image and `scales` - 1 bicubic halvings of it, each with its own weights.

    [N, 3, H, W], RGB in [-1, 1] -> [(features, score) of each scale], the largest first. H and W: `smallest` or more.
    """

    def __init__(self, scales=3, base_ch=64, max_ch=512, layers=4, norm_type="in"):
        super().__init__()
        self.D_pool = nn.ModuleList(PatchDiscriminator(base_ch, max_ch, layers, norm_type) for _ in range(scales))
        add_spectral_norm(self)

        # The unpadded score convolution needs 3 x 3 features. Layers halve with rounding up, scales with rounding down.
        self.smallest = (2 * 2 ** layers + 1) * 2 ** (scales - 1)

    def forward(self, x):
        found = []
        for i, discriminator in enumerate(self.D_pool):
            if i:
                size = (x.shape[2] // 2, x.shape[3] // 2)
                x = F.interpolate(x, size=size, mode="bicubic", align_corners=False)
            found.append(discriminator(x))
        return found
