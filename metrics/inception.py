# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The InceptionV3 whose features FID compares (Heusel et al., NeurIPS 2017), equal to pytorch-fid's.

It is the network of Szegedy et al. (CVPR 2016) with the weights that TensorFlow published on 2015-12-05, under the
names of torchvision's InceptionV3. It differs from torchvision's in two places: average pools do not count their
padding, and the last block has a max pool instead of the average pool.
"""
import os

import torch
from torch import nn
from torch.nn import functional as F

from models.weights import WeightsError, match_weights, read_weights
from utils.errors import UserError

INCEPTION_ADDRESS = (
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth")
SIDE = 299  # pixels of the images that the network was trained on
CLASSES = 1008  # of that file's classifier; torchvision's own file has 1000


class ConvUnit(nn.Module):
    """Convolution without bias, batch norm, ReLU. kernel: (height, width). padded: stride 1 keeps H and W."""

    def __init__(self, c_in: int, c_out: int, kernel: tuple[int, int], stride: int = 1, padded: bool = True) -> None:
        super().__init__()
        padding = tuple(side // 2 for side in kernel) if padded else 0
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(c_out, eps=0.001)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.bn(self.conv(x)))


class InceptionBlock(nn.Module):
    """Branches that read the same input, their outputs concatenated: [N, c_in, H, W] -> [N, c_out, H', W'].

    branches: {name: steps}. A step is one convolution (width, kernel height, kernel width), or a list of two that
    read the same input and are concatenated. The branch `branch_pool` reads `pool` of the input; it may have no step.
    stride: of each branch's last step. 1 keeps H and W; 2 (without padding) gives (H - 1) // 2 and (W - 1) // 2.
    """

    def __init__(self, c_in: int, branches: dict[str, list], pool: nn.Module, stride: int = 1) -> None:
        super().__init__()
        self.pool = pool
        self.branches = {}  # name: its steps, each as the names of its convolutions
        self.c_out = 0
        for branch, steps in branches.items():
            channels, self.branches[branch] = c_in, []
            for place, step in enumerate(steps, 1):
                # As in the file: branch1x1, or branch3x3_1 where more steps follow, or branch3x3_2a beside _2b.
                name = branch if len(steps) == 1 else f"{branch}_{place}"
                units = {name + "a": step[0], name + "b": step[1]} if isinstance(step, list) else {name: step}
                step_stride = stride if place == len(steps) else 1
                for unit, (width, *kernel) in units.items():
                    self.add_module(unit, ConvUnit(channels, width, kernel, step_stride, padded=step_stride == 1))
                self.branches[branch].append(list(units))
                channels = sum(width for width, *_ in units.values())
            self.c_out += channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = []
        for branch, steps in self.branches.items():
            y = self.pool(x) if branch == "branch_pool" else x
            for names in steps:
                y = torch.cat([getattr(self, name)(y) for name in names], 1)
            found.append(y)
        return torch.cat(found, 1)


def _branches_a(pool_width):
    return {"branch1x1": [(64, 1, 1)],
            "branch5x5": [(48, 1, 1), (64, 5, 5)],
            "branch3x3dbl": [(64, 1, 1), (96, 3, 3), (96, 3, 3)],
            "branch_pool": [(pool_width, 1, 1)]}


BRANCHES_B = {"branch3x3": [(384, 3, 3)],
              "branch3x3dbl": [(64, 1, 1), (96, 3, 3), (96, 3, 3)],
              "branch_pool": []}


def _branches_c(width):
    return {"branch1x1": [(192, 1, 1)],
            "branch7x7": [(width, 1, 1), (width, 1, 7), (192, 7, 1)],
            "branch7x7dbl": [(width, 1, 1), (width, 7, 1), (width, 1, 7), (width, 7, 1), (192, 1, 7)],
            "branch_pool": [(192, 1, 1)]}


BRANCHES_D = {"branch3x3": [(192, 1, 1), (320, 3, 3)],
              "branch7x7x3": [(192, 1, 1), (192, 1, 7), (192, 7, 1), (192, 3, 3)],
              "branch_pool": []}
BRANCHES_E = {"branch1x1": [(320, 1, 1)],
              "branch3x3": [(384, 1, 1), [(384, 1, 3), (384, 3, 1)]],
              "branch3x3dbl": [(448, 1, 1), (384, 3, 3), [(384, 1, 3), (384, 3, 1)]],
              "branch_pool": [(192, 1, 1)]}


class InceptionFeatures(nn.Sequential):
    """FID's features of images: [N, 3, H, W], RGB in [-1, 1] -> [N, 2048]. Frozen; float32.

    Images are resized to 299 x 299, bilinear without antialiasing, as in pytorch-fid. FID compares images as they are
    stored: round a network's output to the 256 levels of uint8 first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = ConvUnit(3, 32, (3, 3), stride=2, padded=False)
        self.Conv2d_2a_3x3 = ConvUnit(32, 32, (3, 3), padded=False)
        self.Conv2d_2b_3x3 = ConvUnit(32, 64, (3, 3))
        self.maxpool1 = nn.MaxPool2d(3, stride=2)
        self.Conv2d_3b_1x1 = ConvUnit(64, 80, (1, 1))
        self.Conv2d_4a_3x3 = ConvUnit(80, 192, (3, 3), padded=False)
        self.maxpool2 = nn.MaxPool2d(3, stride=2)
        average = nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
        same_max, half_max = nn.MaxPool2d(3, stride=1, padding=1), nn.MaxPool2d(3, stride=2)
        channels = 192
        for name, branches, pool, stride in (
                ("Mixed_5b", _branches_a(32), average, 1),
                ("Mixed_5c", _branches_a(64), average, 1),
                ("Mixed_5d", _branches_a(64), average, 1),
                ("Mixed_6a", BRANCHES_B, half_max, 2),
                ("Mixed_6b", _branches_c(128), average, 1),
                ("Mixed_6c", _branches_c(160), average, 1),
                ("Mixed_6d", _branches_c(160), average, 1),
                ("Mixed_6e", _branches_c(192), average, 1),
                ("Mixed_7a", BRANCHES_D, half_max, 2),
                ("Mixed_7b", BRANCHES_E, average, 1),
                ("Mixed_7c", BRANCHES_E, same_max, 1)):
            block = InceptionBlock(channels, branches, pool, stride)
            self.add_module(name, block)
            channels = block.c_out
        self.requires_grad_(False).eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.interpolate(x, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        return super().forward(x).mean((2, 3))


def load_inception(path: str | os.PathLike) -> InceptionFeatures:
    """Returns InceptionFeatures with the weights of pytorch-fid's file at `path`.

    Raises UserError, with the file's address, if `path` is another file. The file's classifiers (`fc`, `AuxLogits`) are
    ignored: features are computed before them.
    """
    net = InceptionFeatures()
    try:
        state = read_weights(path)
        classes = len(state.get("fc.bias", range(CLASSES)))
        if classes != CLASSES:
            # Its other keys and shapes are the same: it would load, and give numbers that nobody can compare with.
            raise WeightsError(f"{str(path)!r} is an InceptionV3 of {classes} classes; FID's has {CLASSES}")
        state = {key: value for key, value in state.items() if not key.startswith(("fc.", "AuxLogits."))}
        net.load_state_dict(match_weights(net, state))
    except UserError as error:
        raise UserError(f"--fid_path: FID needs pytorch-fid's Inception weights ({INCEPTION_ADDRESS}). "
                        f"{error}") from None
    return net
