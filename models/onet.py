# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""O-Net, the last stage of MTCNN: tells a face from other things in a small square crop and finds its five points.

Zhang et al., "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks", IEEE Signal
Processing Letters 2016. 389,040 parameters; the keys are those of the public weights (pretrained/onet).
"""
from __future__ import annotations

import torch
from torch import nn

SIZE = 48  # side of the crop in pixels


class ONet(nn.Module):
    """[N, 3, 48, 48] RGB in [-1, 1], (value - 127.5) / 128 -> probability [N], box offsets [N, 4], points [N, 5, 2].

    Offsets of left, top, right and bottom, and points (x, y), are in sides of the crop; (0, 0) is its upper left
    corner. Points: eyes, nose tip, corners of the mouth, the image's left first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 32, 3), nn.PReLU(32)
        self.conv2, self.prelu2 = nn.Conv2d(32, 64, 3), nn.PReLU(64)
        self.conv3, self.prelu3 = nn.Conv2d(64, 64, 3), nn.PReLU(64)
        self.conv4, self.prelu4 = nn.Conv2d(64, 128, 2), nn.PReLU(128)
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.last_pool = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.dense5, self.prelu5 = nn.Linear(128 * 3 * 3, 256), nn.PReLU(256)
        self.dense6_1 = nn.Linear(256, 2)  # other, face
        self.dense6_2 = nn.Linear(256, 4)
        self.dense6_3 = nn.Linear(256, 10)  # five x, then five y

    def forward(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        x = self.pool(self.prelu1(self.conv1(crops)))
        x = self.pool(self.prelu2(self.conv2(x)))
        x = self.last_pool(self.prelu3(self.conv3(x)))
        x = self.prelu4(self.conv4(x))
        x = x.permute(0, 3, 2, 1).flatten(1)  # the weights expect the order width, height, channels
        x = self.prelu5(self.dense5(x))
        points = self.dense6_3(x).unflatten(1, (2, 5)).transpose(1, 2)
        return self.dense6_1(x).softmax(1)[:, 1], self.dense6_2(x), points
