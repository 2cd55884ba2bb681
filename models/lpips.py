# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""LPIPS, a distance between images learned from people's judgements: to score restored faces, and as a training's loss.

Two of them, told apart by the file that is loaded:
- LPIPS v0.1 on AlexNet (Zhang et al., CVPR 2018). The weights of its channels are LINEAR_FILE: those of
  https://github.com/richzhang/PerceptualSimilarity (BSD-2-Clause, copyright 2018 Richard Zhang, Phillip Isola,
  Alexei A. Efros, Eli Shechtman, Oliver Wang; the licence is beside them). AlexNet's own weights are the user's to get.
- ST-LPIPS on AlexNet or VGG16 (Ghildyal & Liu, ECCV 2022): networks whose layers of stride 2 blur before they leave
  pixels out, so that a shift of a pixel changes little. Its files hold the weights of the channels as well.
"""
import os
import re
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from models.precision import widened
from models.weights import match_weights, read_weights
from utils.errors import UserError
from utils.pretrained import sha256

ALEXNET_ADDRESS = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
SHIFT_TOLERANT_SOURCE = "alex_shift_tolerant.pth or vgg_shift_tolerant.pth of the PyPI package stlpips_pytorch"
LINEAR_FILE = Path(__file__).with_name("lpips_alex_v0.1.safetensors")
LINEAR_SHA256 = "abc0385f36d86f2bb4d25087f982b9aa7f772f2db7c3f90cb47f15f085cc5c67"
SMALLEST = 31  # pixels that its layers need


class BlurPool(nn.Module):
    """Halves [N, C, H, W]: the binomial filter 1 2 1 in both directions, every second pixel (Zhang, ICML 2019).

    Two mirrored pixels are added on each side, as ST-LPIPS does.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        row = torch.tensor([0.25, 0.5, 0.25])
        self.register_buffer("filter", torch.outer(row, row).expand(channels, 1, 3, 3).clone(), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(F.pad(x, (2, 2, 2, 2), mode="reflect"), self.filter, stride=2, groups=x.shape[1])


class LPIPS(nn.Module):
    """The distance of two images, 0 if they are equal: both [N, 3, H, W], RGB in [-1, 1] -> [N]. Frozen; float32.

    At each pixel of the activations after the layers `taps` of `features` (ReLUs), both channel vectors are scaled to
    length 1; their squared difference is weighted by channel (`weights`). The distance is the mean over pixels, summed
    over the activations. H and W: SMALLEST or more. `name`: its key in the scores.
    """

    MEAN, STD = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # ImageNet's in [-1, 1], as LPIPS was trained with

    def __init__(self, name: str, layers: list[nn.Module], taps: tuple[int, ...]) -> None:
        super().__init__()
        self.name, self.taps = name, taps
        self.features = nn.Sequential(*layers)
        self.weights = nn.ModuleList(nn.Conv2d(self._channels(tap), 1, 1, bias=False) for tap in taps)
        self.register_buffer("mean", torch.tensor(self.MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(self.STD).view(3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    def _channels(self, tap: int) -> int:
        """Returns the channels of the activation after the layer `tap`."""
        return [layer for layer in self.features[:tap] if isinstance(layer, nn.Conv2d)][-1].out_channels

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Returns the distances [N] of a to the references b, which get no gradient.

        Raises ValueError if the shapes differ: they would broadcast.
        """
        if a.shape != b.shape:
            raise ValueError(f"LPIPS compares images of one size: got {tuple(a.shape)} and {tuple(b.shape)}.")
        with torch.no_grad():
            wanted = list(self._directions(b))
        return sum(((direction - other).square() * widened(scale.weight)).sum(1).mean((1, 2))
                   for direction, other, scale in zip(self._directions(a), wanted, self.weights, strict=True))

    def _directions(self, x):
        """Yields the activations after each of `taps`, each pixel's vector scaled to length 1, in float32."""
        x = (x - self.mean) / self.std
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in self.taps:
                yield F.normalize(widened(x), dim=1)  # half precision would lose small squares of differences


def alexnet_layers() -> list[nn.Module]:
    """Returns the layers of torchvision's AlexNet (Krizhevsky 2014), in its order."""
    return [nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, stride=2),
            nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, stride=2), *_last_of_alexnet()]


def shift_tolerant_alexnet_layers() -> list[nn.Module]:
    """Returns the layers of ST-LPIPS's AlexNet, in its order: the first convolution has stride 1."""
    return [nn.Conv2d(3, 64, 11, padding=2), BlurPool(64), nn.ReLU(), nn.MaxPool2d(3, stride=1), BlurPool(64),
            nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, stride=1), BlurPool(192), *_last_of_alexnet()]


def _last_of_alexnet():
    return [nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(), nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()]


def shift_tolerant_vgg16_layers() -> list[nn.Module]:
    """Returns the layers of ST-LPIPS's VGG16, in its order."""
    layers, channels = [], 3
    for width, convolutions in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        layers += [nn.MaxPool2d(2, stride=1), BlurPool(channels)] if layers else []
        for _ in range(convolutions):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
    return layers


def load_lpips(path: str | os.PathLike, option: str = "--lpips_path") -> LPIPS:
    """Returns LPIPS with AlexNet's weights from torchvision's file at `path`, or ST-LPIPS with those of its own file.

    Raises UserError, naming `option` and where the files are, if `path` is another file, and if LINEAR_FILE is damaged.
    """
    try:
        state = read_weights(path)
        if any(key.endswith(".filt") for key in state):
            net, state = _shift_tolerant(state)
        else:
            net = LPIPS("lpips", alexnet_layers(), (1, 4, 7, 9, 11))
            state = _read_linear() | {key: value for key, value in state.items() if not key.startswith("classifier.")}
        net.load_state_dict(match_weights(net, state))
    except UserError as error:
        raise UserError(f"{option}: LPIPS needs AlexNet's weights ({ALEXNET_ADDRESS}), ST-LPIPS "
                        f"{SHIFT_TOLERANT_SOURCE}. {error}") from None
    return net


def _shift_tolerant(state):
    """Returns (the network of an ST-LPIPS file, its tensors under our names). The file's own filters are left out."""
    if "net.slice1.2.weight" in state:
        net = LPIPS("st_lpips_vgg16", shift_tolerant_vgg16_layers(), (3, 9, 17, 25, 33))
    else:
        net = LPIPS("st_lpips_alexnet", shift_tolerant_alexnet_layers(), (2, 6, 10, 12, 14))
    found = {}
    for key, value in state.items():
        layer = re.fullmatch(r"net\.slice\d+\.(\d+\.(?:weight|bias))", key)  # net.slice2.5.weight: layer 5
        linear = re.fullmatch(r"lin(\d+)\.model\.1\.weight", key)
        if layer:
            found[f"features.{layer[1]}"] = value
        elif linear:
            found[f"weights.{linear[1]}.weight"] = value
        elif not key.endswith(".filt") and not key.startswith("scaling_layer."):
            found[key] = value  # match_weights reports it
    return net, found


def _read_linear():
    """Returns LINEAR_FILE's content, {weights.I.weight: float32 [1, channels, 1, 1]}, if its checksum is right."""
    if not LINEAR_FILE.exists() or sha256(LINEAR_FILE) != LINEAR_SHA256:
        raise UserError(f"{LINEAR_FILE} is missing or damaged: restore it (git checkout).")
    return read_weights(LINEAR_FILE)
