# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""LPIPS, a distance between images learned from people's judgements (Zhang et al., CVPR 2018), v0.1 on AlexNet.

The weights of its channels are LINEAR_FILE: those of https://github.com/richzhang/PerceptualSimilarity (BSD-2-Clause,
copyright 2018 Richard Zhang, Phillip Isola, Alexei A. Efros, Eli Shechtman, Oliver Wang; the licence is beside them).
AlexNet's own weights are the user's to get.
"""
import os
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from models.weights import match_weights, read_weights
from utils.errors import UserError
from utils.pretrained import sha256

ALEXNET_ADDRESS = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
LINEAR_FILE = Path(__file__).with_name("lpips_alex_v0.1.safetensors")
LINEAR_SHA256 = "abc0385f36d86f2bb4d25087f982b9aa7f772f2db7c3f90cb47f15f085cc5c67"


class LPIPS(nn.Module):
    """The distance of two images, 0 if they are equal: both [N, 3, H, W], RGB in [-1, 1] -> [N]. Frozen; float32.

    At each pixel of five of AlexNet's activations, both channel vectors are scaled to length 1; their squared
    difference is weighted by channel (`weights`). The distance is the mean over pixels, summed over the activations.
    H and W: 31 or more.
    """

    TAPS = (1, 4, 7, 9, 11)  # the ReLUs among `features`
    MEAN, STD = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # ImageNet's in [-1, 1], as LPIPS was trained with

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(  # torchvision's AlexNet (Krizhevsky 2014), numbered as there
            nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, stride=2),
            nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, stride=2),
            nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1), nn.ReLU())
        self.weights = nn.ModuleList(nn.Conv2d(self.features[tap - 1].out_channels, 1, 1, bias=False)
                                     for tap in self.TAPS)
        self.register_buffer("mean", torch.tensor(self.MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(self.STD).view(3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Returns the distances [N]. Raises ValueError if the shapes differ: they would broadcast."""
        if a.shape != b.shape:
            raise ValueError(f"LPIPS compares images of one size: got {tuple(a.shape)} and {tuple(b.shape)}.")
        x = (torch.cat([a, b]) - self.mean) / self.std
        distance = 0
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in self.TAPS:
                unit_a, unit_b = F.normalize(x, dim=1).chunk(2)
                weighted = self.weights[self.TAPS.index(i)]((unit_a - unit_b).square())
                distance = distance + weighted.mean((1, 2, 3))
        return distance


def load_lpips(path: str | os.PathLike) -> LPIPS:
    """Returns LPIPS with AlexNet's weights from torchvision's file at `path`.

    Raises UserError, with the file's address, if `path` is another file, and if LINEAR_FILE is damaged.
    """
    net = LPIPS()
    state = _read_linear()
    try:
        state |= {key: value for key, value in read_weights(path).items() if not key.startswith("classifier.")}
        net.load_state_dict(match_weights(net, state))
    except UserError as error:
        raise UserError(f"--lpips_path: LPIPS needs AlexNet's weights ({ALEXNET_ADDRESS}). {error}") from None
    return net


def _read_linear():
    """Returns LINEAR_FILE's content, {weights.I.weight: float32 [1, channels, 1, 1]}, if its checksum is right."""
    if not LINEAR_FILE.exists() or sha256(LINEAR_FILE) != LINEAR_SHA256:
        raise UserError(f"--lpips_path: {LINEAR_FILE} is missing or damaged: restore it (git checkout).")
    return read_weights(LINEAR_FILE)
