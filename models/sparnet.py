# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""SPARNet: Chen et al., "Learning Spatial Attention for Face Super-Resolution", TIP 2020."""

from contextlib import contextmanager
from math import log2

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from models.base_model import ChecksWeights, ExtendsWeights
from models.blocks import ConvLayer, FaceAttentionUnit
from models.convolution import Conv2d

ATTENTIONS = ("spar", "spar3d")
SKIPS = ("skips.", "fusions.", "fine.", "fine_conv.")  # what a network with skips has beside the others' parts
HOURGLASS_SIZE = 64  # the first down block's hourglass reduces 64 pixels to `bottleneck_size`


def _steps(size, smallest, what):
    """Returns how many halvings take `size` to `smallest`. Raises ValueError if not a whole number."""
    steps = log2(size / smallest) if size >= smallest > 0 else -1
    if steps < 0 or steps != int(steps):
        raise ValueError(f"{what}: {size} must be {smallest} times a power of two")
    return int(steps)


class SPARNet(ChecksWeights, ExtendsWeights, nn.Module):
    """Face super-resolution by residual blocks with spatial attention.

    Input [N, 3, in_size, in_size], RGB in [-1, 1]: the low-resolution face resized (bicubic) to `in_size`.
    Output [N, 3, out_size, out_size], RGB, about [-1, 1] and not clipped (the network ends in a convolution).
    The network is convolutional: at the default widths and depths, it accepts any multiple of 8 above 32.

    min_ch, max_ch: bounds of the number of channels; min_feat_size: size at the narrowest point.
    res_depth: the body has res_depth + 3 - (number of halvings) blocks.
    att_name: 'spar': one attention map per block; 'spar3d': one per channel.
    hourglass_ch: width inside the hourglasses; bottleneck_size: their smallest size.
    channel_multiple: all widths are multiples of it (16 is fast on accelerators): the first width is rounded down, and
    min_ch and max_ch must be multiples.
    checkpointing: in training, keeps only each block's input and recomputes the rest in backward (a third more
    arithmetic, a fraction of the memory). Not with batch norm, whose statistics would be updated twice.
    residual: the output is the input plus the last convolution's output; in_size and out_size must be equal.
    skips: after each doubling but the last, the encoder's features of that size are added by a 1x1 convolution, and
    one more block follows (U-Net: Ronneberger et al., 2015). At full size, a block sees the encoder's and the decoder's
    features, and a convolution adds what it finds to the output. Without skips all detail must pass min_feat_size x
    min_feat_size features, which cannot hold the noise of a 128-pixel face. in_size and out_size must be equal.
    Raises ValueError for sizes, names or depths that do not fit together.
    """

    def __init__(self, in_size=128, out_size=128, min_ch=32, max_ch=128, min_feat_size=16, res_depth=10,
                 relu_type="leakyrelu", norm_type="bn", att_name="spar", bottleneck_size=4, hourglass_ch=64,
                 channel_multiple=1, checkpointing=False, residual=False, skips=False):
        super().__init__()
        self.norm_type = norm_type
        self.set_checkpointing(checkpointing)
        for name, asked in (("residual", residual), ("skips", skips)):
            if asked and in_size != out_size:
                raise ValueError(f"{name}: in_size {in_size} and out_size {out_size} must be the same")
        self.residual, self.with_skips = residual, skips
        if att_name not in ATTENTIONS:
            raise ValueError(f"att_name must be one of {', '.join(ATTENTIONS)}, not {att_name!r}")
        downs = _steps(in_size, min_feat_size, "in_size and min_feat_size")
        ups = _steps(out_size, min_feat_size, "out_size and min_feat_size")
        depth = _steps(HOURGLASS_SIZE, bottleneck_size, "bottleneck_size")
        blocks = res_depth + 3 - downs
        if blocks < 0:
            raise ValueError(f"res_depth {res_depth} is too small for {downs} halvings: {downs - 3} or more")
        if downs < 1 or depth - downs + 1 < 1:
            raise ValueError(f"{downs} halvings do not fit hourglasses of depth {depth}: 1 to {depth}")
        if min_ch > max_ch:
            raise ValueError(f"min_ch {min_ch} is more than max_ch {max_ch}")
        if min_ch % channel_multiple or max_ch % channel_multiple:
            raise ValueError(f"min_ch {min_ch} and max_ch {max_ch} must be multiples of channel_multiple "
                             f"{channel_multiple}")
        if in_size // 2 <= 2 ** depth:
            raise ValueError(f"in_size {in_size} is too small for hourglasses of depth {depth} (bottleneck_size "
                             f"{bottleneck_size}): {4 * 2 ** depth} or more")

        def unit(c_in, c_out, scale, depth):
            att_channels = c_out if att_name == "spar3d" else 1
            return FaceAttentionUnit(c_in, c_out, scale, depth, att_channels, hourglass_ch,
                                     norm_type, relu_type)

        def clip(channels):
            return max(min_ch, min(channels, max_ch))

        # `channels` doubles at every halving without a bound, so each use clips it.
        channels = clip(max_ch // (downs + 1)) // channel_multiple * channel_multiple
        encoder = [ConvLayer(3, channels)]
        for step in range(downs):
            encoder.append(unit(clip(channels), clip(channels * 2), "down", depth - step))
            channels *= 2
        depth -= downs - 1
        self.encoder = nn.Sequential(*encoder)
        self.res_layers = nn.Sequential(*(unit(clip(channels), clip(channels), "none", depth)
                                          for _ in range(blocks)))
        decoder, self.skips, self.fusions = [], nn.ModuleList(), nn.ModuleList()
        for step in range(ups):
            decoder.append(unit(clip(channels), clip(channels // 2), "up", depth + step + 1))
            channels //= 2
            if skips and step + 1 < ups:
                self.skips.append(Conv2d(clip(channels), clip(channels), 1))
                self.fusions.append(unit(clip(channels), clip(channels), "none", depth + step + 1))
        self.decoder = nn.Sequential(*decoder)
        self.out_conv = ConvLayer(clip(channels), 3)
        if skips:
            self.fine = unit(2 * clip(channels), clip(channels), "none", depth + ups)
            self.fine_conv = ConvLayer(clip(channels), 3)

    def set_checkpointing(self, on):
        """Turns activation checkpointing on or off. Raises ValueError with batch norm."""
        if on and self.norm_type == "bn":
            raise ValueError("checkpointing would count batch norm's statistics twice: use norm_type 'in' or 'none'")
        self.checkpointing = on

    def start_at_input(self):
        """Sets the last convolutions to 0: a residual network then returns its input, bit for bit, until it learns."""
        for layer in (self.out_conv, self.fine_conv) if self.with_skips else (self.out_conv,):
            nn.init.zeros_(layer.conv2d.weight)
            nn.init.zeros_(layer.conv2d.bias)

    def refusal(self, state):
        """Returns that `state` is of a network with skips and this is not, or the other way round; else None."""
        if "out_conv.conv2d.weight" not in state:
            return None
        given = any(key.startswith(SKIPS) for key in state)
        if given == self.with_skips:
            return None
        return (f"the weights are of a network {'with' if given else 'without'} skips: set --skips "
                f"{'true' if given else 'false'}")

    def extended(self, state):
        """Returns `state` of a network without skips for this one with them, which then computes the same.

        What the new parts add to features and output starts at 0.
        """
        added = {key: value.clone() for key, value in self.state_dict().items() if key.startswith(SKIPS)}
        if added.keys() & state.keys() or "out_conv.conv2d.weight" not in state:
            return state  # has skips already, or is another kind of network's
        last = ".conv2.conv2d." if self.norm_type == "none" else ".conv2.norm.norm."  # not both: neither would learn
        for key, value in added.items():
            closes = key.startswith("fusions.") and last in key and key.endswith((".weight", ".bias"))
            if closes or key.startswith(("skips.", "fine_conv.")):
                value.zero_()
        return {**added, **state}

    def forward(self, x):
        given, features = x, []
        for block in self.encoder:
            x = self._through(block, x)
            if self.with_skips:  # without them, the memory is free for the next blocks
                features.append(x)
        for block in self.res_layers:
            x = self._through(block, x)
        for step, block in enumerate(self.decoder):
            x = self._through(block, x)
            if step < len(self.skips):
                x = self._through(self.fusions[step], x + self.skips[step](features[-2 - step]))
        out = self.out_conv(x)
        if self.with_skips:
            out = out + self.fine_conv(self._through(self.fine, torch.cat([x, features[0]], 1)))
        return given + out if self.residual else out

    def _through(self, block, x):
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(block, x, use_reentrant=False)
        return block(x)


@contextmanager
def attention_maps(net):
    """Collects the attention maps of the forward passes made inside the `with` block.

        with attention_maps(net) as maps:
            sr = net(lr)
        maps["decoder.2"]  # [N, 1, h, w] ('spar') or [N, C, h, w] ('spar3d'), values in [0, 1]

    The dict has the checkpoint's block names, in the order of the computation, and holds the latest pass, detached, on
    the network's device. The network's output is bit-identical with and without it.
    """
    maps = {}

    def keep(name):
        def hook(module, inputs, output):
            maps[name] = output.detach()
        return hook

    handles = [module.att_func.out_block.register_forward_hook(keep(name))
               for name, module in net.named_modules() if isinstance(module, FaceAttentionUnit)]
    try:
        yield maps
    finally:
        for handle in handles:
            handle.remove()
