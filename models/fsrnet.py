# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""FSRNet and FSRGAN: Chen et al., "FSRNet: End-to-End Learning Face Super-Resolution with Facial Priors", CVPR 2018.

Module names follow the released checkpoints (`csr_net`, `convBlock`, `res3_1` ...), so they must not be renamed.
ReLUs run in place: batch norm's backward does not need its output.
"""
import contextlib

import torch
from torch import nn
from torch.nn import functional as F

from models.base_model import ChecksWeights
from models.convolution import Conv2d, ConvTranspose2d

HOURGLASS_DEPTH = 3


class FSRNet(ChecksWeights, nn.Module):
    """Face super-resolution with a branch that estimates facial landmarks and parts.

    Input: [N, 3, H, W], RGB in [-1, 1], the low-resolution face resized to H x W (even, 16 or more). Output:
    (coarse, priors, fine).
    coarse, fine: [N, 3, H, W], RGB in [-1, 1]. priors: [N, hmaps_ch + pmaps_ch, H / 2, W / 2], first the landmark
    heatmaps, then the parsing maps, each about [-1, 1] (not clipped) with 1 at a landmark or inside the part.

    tied: the coarse network, the encoder and the decoder each apply one residual block several times, as in the
    released weights (2.2 M parameters); the paper has separate blocks (3.3 M). The batch norms of a tied block have one
    set of running statistics, although its inputs differ at each application: see batch_statistics.
    width: channels of the network; the prior branch has twice as many. Raises ValueError if there are no maps.
    """

    def __init__(self, hmaps_ch=0, pmaps_ch=11, tied=False, width=64, enc_blocks=12, hourglasses=2):
        super().__init__()
        if hmaps_ch < 0 or pmaps_ch < 0 or hmaps_ch + pmaps_ch == 0:
            raise ValueError(f"hmaps_ch {hmaps_ch} and pmaps_ch {pmaps_ch}: 0 or more, and one above 0")
        self.hmaps_ch, self.pmaps_ch, self.tied = hmaps_ch, pmaps_ch, tied
        self.csr_net = CoarseNet(width, 3, tied)
        self.fsr_enc = Encoder(width, enc_blocks, tied)
        self.pre_net = PriorNet(width, hourglasses)
        self.fsr_dec = Decoder(3 * width, width, 3, tied)
        self.prior_conv1 = Conv2d(2 * width, hmaps_ch, 1) if hmaps_ch else None
        self.prior_conv2 = Conv2d(2 * width, pmaps_ch, 1) if pmaps_ch else None

    def forward(self, x):
        coarse = self.csr_net(x)
        features = self.pre_net(coarse)
        priors = torch.cat([head(features) for head in self.heads()], 1)
        fine = self.fsr_dec(torch.cat([self.fsr_enc(coarse), features], 1))
        return coarse, priors, fine

    def heads(self):
        """Returns the existing output convolutions: of the landmark heatmaps, then of the parsing maps."""
        return [head for head in (self.prior_conv1, self.prior_conv2) if head is not None]

    def norms_by_batch(self):
        """Returns the batch norms that use batch statistics for restoring: all if blocks are tied, otherwise none.

        An untied network with a tied network's weights has equal weights in all blocks and counts as tied.
        """
        kernels = [block.layers[1].weight for block in self.csr_net.res_blocks]
        tied = self.tied or all(torch.equal(kernel, kernels[0]) for kernel in kernels)
        return [m for m in self.modules() if tied and isinstance(m, nn.modules.batchnorm._BatchNorm)]

    def refusal(self, state):
        """Returns why `state`, another FSRNet's weights, does not fit this network, or None."""
        hmaps_ch, pmaps_ch = (len(state.get(f"prior_conv{i}.weight", ())) for i in (1, 2))
        if hmaps_ch + pmaps_ch and (hmaps_ch, pmaps_ch) != (self.hmaps_ch, self.pmaps_ch):
            return (f"the weights are of {hmaps_ch} heatmaps and {pmaps_ch} parsing maps, the network has "
                    f"{self.hmaps_ch} and {self.pmaps_ch}: set --hmaps_ch {hmaps_ch} --pmaps_ch {pmaps_ch}")
        first_names = {}
        for name, tensor in self.state_dict(keep_vars=True).items():
            first = first_names.setdefault(id(tensor), name)
            if name in state and first in state and not torch.equal(state[name], state[first]):
                return f"the weights have several blocks where the network has one ({first}): leave out --tied"
        return None


@contextlib.contextmanager
def batch_statistics(norms):
    """Inside the `with` block, `norms` in eval mode normalise by batch statistics and update no running statistics.

    A block that is applied several times mixes the statistics of different inputs: restoring with them costs several
    dB. If only such blocks used batch statistics, the other blocks would get inputs unlike those in training. So tied
    networks use batch statistics everywhere, like the public code, which never leaves training mode (and is scored
    with batches of one face).
    """
    kept = [(norm.running_mean, norm.running_var) for norm in norms]
    for norm in norms:
        norm.running_mean = norm.running_var = None
    try:
        yield
    finally:
        for norm, (mean, variance) in zip(norms, kept, strict=True):
            norm.running_mean, norm.running_var = mean, variance


def _residual_blocks(channels, count, tied):
    blocks = [ResidualBlock(channels)] * count if tied else [ResidualBlock(channels) for _ in range(count)]
    return nn.Sequential(*blocks)


def _padded_conv(c_in, c_out):
    return nn.ReflectionPad2d(1), Conv2d(c_in, c_out, 3, bias=False)


def _norm_relu(channels):
    return nn.BatchNorm2d(channels), nn.ReLU(inplace=True)


class ResidualBlock(nn.Module):
    """x plus a branch of two reflection-padded 3x3 convolutions with batch norm: [N, C, H, W] -> [N, C, H, W]."""

    def __init__(self, channels):
        super().__init__()
        self.layers = nn.Sequential(*_padded_conv(channels, channels), *_norm_relu(channels),
                                    *_padded_conv(channels, channels), nn.BatchNorm2d(channels))

    def forward(self, x):
        return x + self.layers(x)


class CoarseNet(nn.Module):
    """Estimates the coarse face: [N, 3, H, W] -> [N, 3, H, W] in [-1, 1]."""

    def __init__(self, width, blocks, tied):
        super().__init__()
        self.conv1 = nn.Sequential(*_padded_conv(3, width), *_norm_relu(width))
        self.res_blocks = _residual_blocks(width, blocks, tied)
        self.conv2 = nn.Sequential(*_padded_conv(width, 3), nn.Tanh())

    def forward(self, x):
        return self.conv2(self.res_blocks(self.conv1(x)))


class Encoder(nn.Module):
    """Computes features of the coarse face: [N, 3, H, W] -> [N, width, H / 2, W / 2] in [-1, 1]."""

    def __init__(self, width, blocks, tied):
        super().__init__()
        self.conv1 = nn.Sequential(Conv2d(3, width, 3, stride=2, padding=1, bias=False), *_norm_relu(width))
        self.res_blocks = _residual_blocks(width, blocks, tied)
        self.conv2 = nn.Sequential(*_padded_conv(width, width), nn.Tanh())

    def forward(self, x):
        return self.conv2(self.res_blocks(self.conv1(x)))


class Decoder(nn.Module):
    """Restores the fine face from all features: [N, c_in, H / 2, W / 2] -> [N, 3, H, W] in [-1, 1]."""

    def __init__(self, c_in, width, blocks, tied):
        super().__init__()
        self.conv1 = nn.Sequential(Conv2d(c_in, width, 3, padding=1, bias=False), *_norm_relu(width))
        self.deconv1 = nn.Sequential(
            ConvTranspose2d(width, width, 3, stride=2, padding=1, output_padding=1, bias=False), *_norm_relu(width))
        self.res_blocks = _residual_blocks(width, blocks, tied)
        self.conv2 = nn.Sequential(*_padded_conv(width, 3), nn.Tanh())

    def forward(self, x):
        return self.conv2(self.res_blocks(self.deconv1(self.conv1(x))))


class PriorNet(nn.Module):
    """Features of the prior maps: [N, 3, H, W] -> [N, 2 width, H / 2, W / 2]. Never tied."""

    def __init__(self, width, hourglasses):
        super().__init__()
        self.conv1 = nn.Sequential(Conv2d(3, width, 7, stride=2, padding=3, bias=False), *_norm_relu(width))
        self.res_blocks = nn.Sequential(Bottleneck(width, 2 * width), *_residual_blocks(2 * width, 2, tied=False))
        self.hg_blocks = nn.Sequential(*(PriorHourGlass(2 * width) for _ in range(hourglasses)))

    def forward(self, x):
        return self.hg_blocks(self.res_blocks(self.conv1(x)))


class Bottleneck(nn.Module):
    """Pre-activated residual block: 1x1, 3x3, 1x1 convolutions (He et al., ECCV 2016), c_out / 2 wide inside."""

    def __init__(self, c_in, c_out):
        super().__init__()
        width = c_out // 2
        self.convBlock = nn.Sequential(*_norm_relu(c_in), Conv2d(c_in, width, 1),
                                       *_norm_relu(width), Conv2d(width, width, 3, padding=1),
                                       *_norm_relu(width), Conv2d(width, c_out, 1))
        self.skipConv = nn.Identity() if c_in == c_out else Conv2d(c_in, c_out, 1)

    def forward(self, x):
        return self.skipConv(x) + self.convBlock(x)


class PriorHourGlass(nn.Module):
    """Hourglass of bottlenecks (Newell et al., ECCV 2016): [N, C, H, W] -> [N, C, H, W], H and W 8 or more.

    Level k sums two branches: `res{k}_1` at full size, and one that is halved, goes through `res{k}_2`, level k - 1
    (the innermost: `res_center`) and `res{k}_3`, and is doubled again.
    """

    def __init__(self, channels):
        super().__init__()
        levels = range(HOURGLASS_DEPTH, 0, -1)
        names = [*(f"res{level}_{place}" for level in levels for place in (1, 2)), "res_center",
                 *(f"res{level}_3" for level in reversed(levels))]
        for name in names:
            self.add_module(name, Bottleneck(channels, channels))

    def forward(self, x):
        return self._level(HOURGLASS_DEPTH, x)

    def _level(self, level, x):
        if level == 0:
            return self.res_center(x)
        same, before, after = (getattr(self, f"res{level}_{place}") for place in (1, 2, 3))
        skip = same(x)
        low = after(self._level(level - 1, before(F.max_pool2d(x, 2))))
        return skip + F.interpolate(low, size=skip.shape[2:], mode="nearest")


class FSRGANDiscriminator(nn.Module):
    """FSRGAN's patch discriminator: [N, 3, H, W], RGB in [-1, 1] -> P(real) [N, 1, H/16, W/16].

    logits=True: returns the scores before the sigmoid, for numerically stable losses.
    """

    WIDTHS = (1, 1, 2, 2, 4, 4, 8, 8)  # times `width`; every second convolution halves the image

    def __init__(self, width=64):
        super().__init__()
        widths = [width * factor for factor in self.WIDTHS]
        layers = [Conv2d(3, width, 3, padding=1), nn.LeakyReLU(0.2, inplace=True)]
        for i, (c_in, c_out) in enumerate(zip(widths, widths[1:], strict=False)):
            layers += [Conv2d(c_in, c_out, 3, stride=1 if i % 2 else 2, padding=1), nn.BatchNorm2d(c_out),
                       nn.LeakyReLU(0.2, inplace=True)]
        self.model = nn.Sequential(*layers, Conv2d(widths[-1], 1, 3, padding=1))

    def forward(self, x, logits=False):
        scores = self.model(x)
        return scores if logits else scores.sigmoid()
