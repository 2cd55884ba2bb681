# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""SPARNetHD and its discriminator: released keys, reference outputs, widths, spectral norm and sizes."""
import pytest
import torch
from torch.nn import functional as F

from models import create_network
from models.shapes import shapes_only
from tests.helpers.released import check_released, probe


@pytest.mark.parametrize("name, millions", [("sparnethd_attn2d", "85.79"), ("sparnethd_attn3d", "90.09")])
def test_released_generator(name, millions):
    check_released(name, millions, (1, 3, 512, 512), lambda sr: [sr[..., ::8, ::8]])


def test_released_discriminator():
    check_released("sparnethd_discriminator", "11.75", (1, 3, 512, 512), lambda scales: [score for _, score in scales])


def test_accelerator_friendly_widths():
    with shapes_only():
        net = create_network("sparnethd_attn2d", channel_multiple=16)
    widths = {module.out_channels for name, module in net.named_modules()
              if isinstance(module, torch.nn.Conv2d) and "att_func" not in name and name != "out_conv.conv2d"}
    assert widths == {96, 192, 384, 512}
    with pytest.raises(ValueError, match="min_ch 32 and max_ch 500 must be multiples of channel_multiple 16"):
        create_network("sparnethd_attn2d", channel_multiple=16, max_ch=500)


def test_a_training_step_moves_the_singular_vectors_and_evaluation_does_not():
    torch.manual_seed(0)  # for some weights, 30 steps do not converge to 1e-3
    net = create_network("sparnethd_discriminator", scales=1, base_ch=4, max_ch=8, layers=2)
    layer = net.D_pool[0].model[1].conv2d
    before = layer.weight_u.clone()
    x = probe((2, 3, 32, 32), 0)
    net.eval()(x)
    assert torch.equal(layer.weight_u, before)
    for _ in range(30):
        net.train()(x)
    assert not torch.equal(layer.weight_u, before)
    assert float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("scales, layers", [(1, 1), (2, 3), (3, 2)])
def test_the_smallest_picture_leaves_the_last_score_one_pixel(scales, layers):
    net = create_network("sparnethd_discriminator", scales=scales, base_ch=8, max_ch=4, layers=layers)
    assert net(torch.zeros(1, 3, net.smallest, net.smallest))[-1][1].shape == (1, 1, 1, 1)
    with pytest.raises(RuntimeError, match="Kernel size can't be greater"):
        net(torch.zeros(1, 3, net.smallest - 1, net.smallest - 1))


def test_scales_see_halvings_of_the_picture():
    net = create_network("sparnethd_discriminator", scales=2, base_ch=4, max_ch=8, layers=1).eval()
    x = probe((1, 3, 32, 32), 0)
    half = F.interpolate(x, size=(16, 16), mode="bicubic", align_corners=False)
    features, score = net(x)[1]
    expected_features, expected = net.D_pool[1](half)
    assert torch.equal(score, expected) and len(features) == 2
    assert all(torch.equal(a, b) for a, b in zip(features, expected_features, strict=True))
