# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Face recognition networks: MobileFaceNet and ArcFace's IR-SE50, with the keys of their public files.

Both take aligned faces (restore/alignment.py), NCHW RGB in [-1, 1], and return one unit vector per face. The
cosine of two faces' vectors is their identity similarity.
"""
from torch import nn
from torch.nn import functional as F

from models.values import IR_SE50_ADDRESS
from models.weights import match_weights, read_weights
from utils.errors import UserError


class FaceEmbedding(nn.Module):
    """Base class: `size` is (height, width) of the aligned face; a subclass defines `vectors(x) -> [N, D]`."""

    size: tuple

    def forward(self, x):
        """[N, 3, *size] RGB in [-1, 1] -> [N, D], each of length 1."""
        return F.normalize(self.vectors(x), dim=1)


def _conv_norm(c_in, c_out, kernel, stride=1, padding=0, groups=1):
    return [nn.Conv2d(c_in, c_out, kernel, stride, padding, groups=groups, bias=False), nn.BatchNorm2d(c_out)]


class _Layer(nn.Module):
    """Convolution, batch norm and, unless `linear`, PReLU, under MobileFaceNet's keys."""

    def __init__(self, c_in, c_out, kernel, stride=1, padding=0, groups=1, linear=False):
        super().__init__()
        self.conv, self.bn = _conv_norm(c_in, c_out, kernel, stride, padding, groups)
        self.prelu = nn.Identity() if linear else nn.PReLU(c_out)

    def forward(self, x):
        return self.prelu(self.bn(self.conv(x)))


class _Bottleneck(nn.Module):
    """MobileNet's inverted residual with PReLU: widen, filter each channel, narrow."""

    def __init__(self, c_in, c_out, stride, expansion):
        super().__init__()
        width = c_in * expansion
        self.connect = stride == 1 and c_in == c_out
        self.conv = nn.Sequential(
            *_conv_norm(c_in, width, 1), nn.PReLU(width),
            *_conv_norm(width, width, 3, stride, 1, groups=width), nn.PReLU(width),
            *_conv_norm(width, c_out, 1))

    def forward(self, x):
        return x + self.conv(x) if self.connect else self.conv(x)


class MobileFaceNet(FaceEmbedding):
    """Chen et al., CCBR 2018; [N, 3, 112, 96] -> 128 numbers, 1.0 M parameters."""

    size = (112, 96)
    STAGES = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))  # expansion, c, n, stride

    def __init__(self):
        super().__init__()
        self.conv1 = _Layer(3, 64, 3, 2, 1)
        self.dw_conv1 = _Layer(64, 64, 3, 1, 1, groups=64)
        blocks, channels = [], 64
        for expansion, width, count, stride in self.STAGES:
            for i in range(count):
                blocks.append(_Bottleneck(channels, width, 1 if i else stride, expansion))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.conv2 = _Layer(128, 512, 1)
        self.linear7 = _Layer(512, 512, (7, 6), groups=512, linear=True)
        self.linear1 = _Layer(512, 128, 1, linear=True)

    def vectors(self, x):
        x = self.conv2(self.blocks(self.dw_conv1(self.conv1(x))))
        return self.linear1(self.linear7(x)).flatten(1)


class _SqueezeExcitation(nn.Module):
    """Squeeze and excitation: weights channels by global average pooling (Hu et al., CVPR 2018)."""

    def __init__(self, channels, reduction=16):
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // reduction, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // reduction, channels, 1, bias=False)

    def forward(self, x):
        weights = self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True))))
        return x * weights.sigmoid()


class _ImprovedResidual(nn.Module):
    """ArcFace's residual block with squeeze and excitation; if c_in == c_out, the shortcut only subsamples."""

    def __init__(self, c_in, c_out, stride):
        super().__init__()
        same = c_in == c_out
        self.shortcut_layer = nn.MaxPool2d(1, stride) if same else nn.Sequential(*_conv_norm(c_in, c_out, 1, stride))
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(c_in), nn.Conv2d(c_in, c_out, 3, 1, 1, bias=False), nn.PReLU(c_out),
            *_conv_norm(c_out, c_out, 3, stride, 1), _SqueezeExcitation(c_out))

    def forward(self, x):
        return self.shortcut_layer(x) + self.res_layer(x)


class IRSE50(FaceEmbedding):
    """ArcFace's improved ResNet-50 (Deng et al., CVPR 2019); [N, 3, 112, 112] -> 512 numbers, 43.8 M parameters."""

    size = (112, 112)
    STAGES = ((64, 3), (128, 4), (256, 14), (512, 3))  # channels, blocks

    def __init__(self):
        super().__init__()
        self.input_layer = nn.Sequential(*_conv_norm(3, 64, 3, 1, 1), nn.PReLU(64))
        blocks, channels = [], 64
        for width, count in self.STAGES:
            for i in range(count):
                blocks.append(_ImprovedResidual(channels, width, 1 if i else 2))
                channels = width
        self.body = nn.Sequential(*blocks)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(512), nn.Dropout(), nn.Flatten(), nn.Linear(512 * 7 * 7, 512), nn.BatchNorm1d(512))

    def vectors(self, x):
        return self.output_layer(self.body(self.input_layer(x)))


def load_face_embedding(path, option="--identity_path"):
    """Returns the frozen network whose weights are at `path`; the keys show which network it is.

    Raises UserError, naming `option`, if the file cannot be read or fits neither network.
    """
    try:
        state = read_weights(path)
        net = (IRSE50 if "input_layer.0.weight" in state else MobileFaceNet)()
        net.load_state_dict(match_weights(net, state))
    except UserError as error:
        raise UserError(f"{option}: the weights of a MobileFaceNet (112x96) or of ArcFace's IR-SE50 "
                        f"({IR_SE50_ADDRESS}) are needed. {error}") from None
    return net.requires_grad_(False).eval()


def load_arcface(path):
    """Returns load_face_embedding of --arcface_path, for the identity loss. Raises UserError if `path` is None."""
    if not path:
        raise UserError(f"--arcface_path FILE is needed for the identity loss ({IR_SE50_ADDRESS}); "
                        "--lambda_id 0 turns this loss off.")
    return load_face_embedding(path, "--arcface_path")
