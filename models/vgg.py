# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""VGG16 and VGG19 up to the activations that perceptual losses compare; weights are loaded from a given path."""
import torch
from torch import nn

from models.values import VGG16_ADDRESS, VGG19_ADDRESS
from models.weights import match_weights, read_weights
from utils.errors import UserError


class VGGFeatures(nn.Module):
    """A VGG's convolutions (Simonyan & Zisserman 2015), frozen, under torchvision's keys `features.N`.

    [N, 3, H, W], RGB in [-1, 1] -> [activations after the layers TAPS]. BLOCKS: convolutions before each pooling layer.
    NAME: --NAME_path gives the weights file; ADDRESS: URL of the public file.
    """

    NAME: str
    ADDRESS: str
    BLOCKS: tuple
    TAPS: tuple
    WIDTHS = (64, 128, 256, 512, 512)
    MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

    def __init__(self):
        super().__init__()
        layers, channels = [], 3
        for width, convolutions in zip(self.WIDTHS, self.BLOCKS, strict=True):
            for _ in range(convolutions):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers[:self.TAPS[-1] + 1])
        # Converts [-1, 1] to ImageNet's normalisation; not in the weights file.
        self.register_buffer("scale", 0.5 / torch.tensor(self.STD).view(3, 1, 1), persistent=False)
        self.register_buffer("shift", ((0.5 - torch.tensor(self.MEAN)) / torch.tensor(self.STD)).view(3, 1, 1),
                             persistent=False)
        self.requires_grad_(False).eval()

    def forward(self, x):
        x = x * self.scale + self.shift
        found = []
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in self.TAPS:
                found.append(x)
        return found


class VGG19Features(VGGFeatures):
    """SPARNetHD's features: after the ReLUs of conv1_2, 2_2, 3_4 and 4_4, and conv5_4 before its ReLU."""

    NAME, ADDRESS = "vgg19", VGG19_ADDRESS
    BLOCKS, TAPS = (2, 2, 4, 4, 4), (3, 8, 17, 26, 34)


class VGG16Features(VGGFeatures):
    """FSRGAN's features: after the ReLU of conv5_3."""

    NAME, ADDRESS = "vgg16", VGG16_ADDRESS
    BLOCKS, TAPS = (2, 2, 3, 3, 3), (29,)


def load_vgg(kind, path):
    """Returns `kind` (VGG19Features or VGG16Features) with the weights of torchvision's file at `path`.

    Raises UserError, with the download address, if the file is missing or is another one.
    """
    net = kind()
    advice = f"for the perceptual loss ({kind.ADDRESS}); --lambda_pcp 0 does without."
    if not path:
        raise UserError(f"--{kind.NAME}_path FILE is needed {advice}")
    try:
        state = {key: value for key, value in read_weights(path).items() if not key.startswith("classifier.")}
        net.load_state_dict(match_weights(net, state))
    except UserError as error:
        raise UserError(f"--{kind.NAME}_path: {kind.NAME.upper()}'s weights are needed {advice} {error}") from None
    return net
