# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Compares losses with values computed by hand, and VGG16 and VGG19 with their definitions."""
import math

import pytest
import torch
from torch.nn import functional as F

from models import loss
from models.vgg import VGG16Features, VGG19Features, load_vgg
from tests.helpers.released import fill, probe
from utils.errors import UserError

SCORES = [torch.tensor([[0.5, -2.0]]), torch.tensor([[3.0]])]


def softplus(x):
    return math.log1p(math.exp(x))


@pytest.mark.parametrize("kind, generator, real, fake", [
    ("hinge", (0.75 - 3) / 2, (1.75 + 0) / 2, (0.75 + 4) / 2),
    ("wgan", (0.75 - 3) / 2, (0.75 - 3) / 2, (-0.75 + 3) / 2),
    ("lsgan", (4.625 + 4) / 2, (4.625 + 4) / 2, (2.125 + 9) / 2),
    ("vanilla", ((softplus(-0.5) + softplus(2)) / 2 + softplus(-3)) / 2,
     ((softplus(-0.5) + softplus(2)) / 2 + softplus(-3)) / 2, ((softplus(0.5) + softplus(-2)) / 2 + softplus(3)) / 2),
])
def test_adversarial_losses_by_hand(kind, generator, real, fake):
    assert float(loss.generator_loss(kind, SCORES)) == pytest.approx(generator)
    assert float(loss.discriminator_loss(kind, SCORES, SCORES)) == pytest.approx((real + fake) / 2)


def test_feature_matching_by_hand_and_without_gradient_for_the_real():
    real = [[torch.zeros(1, 2, requires_grad=True), torch.ones(1, 3)], [torch.ones(2)]]
    fake = [[torch.full((1, 2), 0.5, requires_grad=True), torch.zeros(1, 3)], [torch.full((2,), 4.0)]]
    found = loss.feature_matching_loss(real, fake)
    assert found.item() == pytest.approx((0.5 + 1 + 3) / 2)
    found.backward()
    assert real[0][0].grad is None and fake[0][0].grad is not None


@pytest.fixture(scope="module")
def vgg19(tmp_path_factory):
    """(file, weights) with torchvision's keys and shapes; the weights differ per layer, to expose a wrong one."""
    weights = fill(VGG19Features().state_dict())
    path = tmp_path_factory.mktemp("vgg") / "vgg19.pth"
    torch.save(weights | {"classifier.0.weight": torch.zeros(2, 2), "classifier.0.bias": torch.zeros(2)}, path)
    return path, weights


def vgg_by_hand(x, weights, blocks):
    """Returns one list per block: each convolution's output before ReLU. Keys follow torchvision's numbering."""
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    y, place, found = ((x + 1) / 2 - mean) / std, 0, []
    for convolutions in blocks:
        found.append([])
        for _ in range(convolutions):
            y = F.conv2d(y, weights[f"features.{place}.weight"], weights[f"features.{place}.bias"], padding=1)
            found[-1].append(y)
            y = F.relu(y)
            place += 2
        y = F.max_pool2d(y, 2)
        place += 1
    return found


def test_vgg19_taps_are_those_published(vgg19):
    path, weights = vgg19
    net = load_vgg(VGG19Features, path)
    x = probe((1, 3, 32, 32), 0)
    found = net(x)
    *blocks, last = vgg_by_hand(x, weights, (2, 2, 4, 4, 4))
    expected = [F.relu(block[-1]) for block in blocks] + [last[3]]
    assert [f.shape[1] for f in found] == [64, 128, 256, 512, 512]
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    assert float(found[-1].min()) < 0 <= float(found[0].min())
    assert not any(p.requires_grad for p in net.parameters())
    assert float(loss.perceptual_loss(found, net(x.flip(3)))) == pytest.approx(
        sum(float((a - b).abs().mean()) for a, b in zip(found, net(x.flip(3)), strict=True)), rel=1e-5)


def test_vgg16_gives_relu5_3(tmp_path):
    weights = fill(VGG16Features().state_dict())
    assert list(weights)[-1] == "features.28.bias" and len(weights) == 26  # as in torchvision's file
    torch.save(weights, tmp_path / "vgg16.pth")
    x = probe((1, 3, 32, 32), 0)
    found, = load_vgg(VGG16Features, tmp_path / "vgg16.pth")(x)
    torch.testing.assert_close(found, F.relu(vgg_by_hand(x, weights, (2, 2, 3, 3, 3))[4][2]), rtol=1e-4, atol=1e-4)
    with pytest.raises(UserError, match="--vgg16_path.*https://download.pytorch.org/models/vgg16-397923af.pth"):
        load_vgg(VGG16Features, None)


def test_another_file_is_refused_with_the_address(vgg19, tmp_path):
    _, weights = vgg19
    torch.save({k: v for k, v in weights.items() if not k.startswith("features.34")}, tmp_path / "short.pth")
    for path in (tmp_path / "short.pth", tmp_path / "gone.pth"):
        with pytest.raises(UserError, match="--vgg19_path.*https://download.pytorch.org/models/vgg19.*--lambda_pcp 0"):
            load_vgg(VGG19Features, path)
