# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Spectral normalisation of a whole network (Miyato et al., ICLR 2018): torch's, run once per call of the network."""
import torch
from torch import nn
from torch.nn.utils.spectral_norm import SpectralNorm

from models.precision import widened


def add_spectral_norm(net: nn.Module) -> nn.Module:
    """Divides the weight of every convolution of `net` by its largest singular value before each call of `net`.

    Keys are those of torch.nn.utils.spectral_norm: weight_orig, weight_u, weight_v. In training each call makes one
    power iteration. Call it once, on the module that is called. Returns `net`.
    """
    layers = [module for module in net.modules() if isinstance(module, nn.Conv2d)]
    for layer in layers:
        nn.utils.spectral_norm(layer)
        layer._forward_pre_hooks.popitem()  # torch's hook of the layer: _NormaliseAll takes its place
        layer.float32_buffers = ("weight_u", "weight_v")
    net.register_forward_pre_hook(_NormaliseAll(layers))
    return net


def remove_spectral_norm(net: nn.Module) -> nn.Module:
    """Replaces what add_spectral_norm added by the normalised weights, as plain parameters. Returns `net`."""
    for key, hook in list(net._forward_pre_hooks.items()):
        if isinstance(hook, _NormaliseAll):
            for layer in hook.layers:
                hook.norm.remove(layer)
            del net._forward_pre_hooks[key]
    return net


class _NormaliseAll:
    """The hook of the network.

    Not hooks of the layers: activation checkpointing calls these again in the backward pass, and each call would make
    another power iteration. The hook refers to the layers, so that a deep copy of the network normalises its own.
    """

    def __init__(self, layers):
        self.layers, self.norm = layers, _Float32Norm()

    def __call__(self, net, inputs):
        for layer in self.layers:
            self.norm(layer, None)


class _Float32Norm(SpectralNorm):
    """torch's, computed in float32 from half weights: half would lose digits of the singular value."""

    def reshape_weight_to_matrix(self, weight: torch.Tensor) -> torch.Tensor:
        return widened(super().reshape_weight_to_matrix(weight))
