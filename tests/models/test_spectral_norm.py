# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Compares the network-wide spectral norm with torch's own, which works layer by layer."""
import copy

import pytest
import torch
from torch import nn

from models.blocks import ConvLayer
from models.spectral_norm import add_spectral_norm


def small_net():
    torch.manual_seed(0)
    return nn.Sequential(ConvLayer(3, 8), ConvLayer(8, 8, "down", "in", "leakyrelu"), ConvLayer(8, 8, "up"),
                         ConvLayer(8, 8), ConvLayer(8, 3))


@pytest.fixture(params=[torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels_last"])
def pair(request):
    """Returns the same network with the project's and with torch's spectral norm, from the same seeds."""
    ours, torchs = (small_net().to(memory_format=request.param) for _ in range(2))
    torch.manual_seed(1)
    add_spectral_norm(ours)
    torch.manual_seed(1)
    for module in torchs.modules():
        if isinstance(module, nn.Conv2d):
            nn.utils.spectral_norm(module)
    return ours, torchs


def test_it_is_torchs_in_keys_value_gradient_and_vectors(pair):
    assert list(pair[0].state_dict()) == list(pair[1].state_dict())
    x = torch.randn(2, 3, 16, 16)
    for step in range(4):
        for net in pair:
            net.train(step != 2)
            net.zero_grad()
        a, b = (net(x) for net in pair)
        assert torch.equal(a, b)
        (a.square().sum() + b.square().sum()).backward()
        for (name, p), (_, q) in zip(pair[0].named_parameters(), pair[1].named_parameters(), strict=True):
            assert torch.equal(p.grad, q.grad), name
        for (name, p), (_, q) in zip(pair[0].named_buffers(), pair[1].named_buffers(), strict=True):
            assert torch.equal(p, q), name


def test_two_calls_before_one_backward_keep_their_own_weights(pair):
    """A discriminator is called on real and fake images in this way."""
    x = torch.randn(2, 2, 3, 16, 16)
    for net in pair:
        (net(x[0]).square().sum() + net(x[1]).abs().sum()).backward()
    for p, q in zip(pair[0].parameters(), pair[1].parameters(), strict=True):
        assert torch.equal(p.grad, q.grad)


def test_a_layer_that_is_called_again_iterates_no_further(pair):
    """Activation checkpointing calls a layer again in the backward pass."""
    net, x = pair[0], torch.randn(1, 3, 16, 16)
    net(x)
    before = copy.deepcopy(net[0].conv2d.weight_u)
    net[0](x)
    assert torch.equal(net[0].conv2d.weight_u, before)
    net(x)
    assert not torch.equal(net[0].conv2d.weight_u, before)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_weights_are_divided_by_a_float32_singular_value(half):
    net = add_spectral_norm(nn.Sequential(ConvLayer(3, 8), ConvLayer(8, 3)))
    for parameter in net.parameters():
        parameter.data = parameter.data.to(half)
    net(torch.randn(1, 3, 16, 16).to(half))
    layer = net[0].conv2d
    assert layer.weight.dtype == half and layer.weight_u.dtype == torch.float32
    u, v, matrix = layer.weight_u, layer.weight_v, layer.weight_orig.detach().float().flatten(1)
    torch.testing.assert_close(layer.weight, layer.weight_orig / (u @ matrix @ v).to(half), rtol=1e-2, atol=0)
    net(torch.randn(1, 3, 16, 16).to(half)).sum().backward()
    assert layer.weight_orig.grad.dtype == half and layer.weight_orig.grad.isfinite().all()


def test_a_deep_copy_normalises_its_own_weights(pair):
    net, x = pair[0], torch.randn(1, 3, 16, 16)
    twin = copy.deepcopy(net).eval()
    expected = twin(x)
    with torch.no_grad():
        for p in net.parameters():
            p.zero_()
    torch.testing.assert_close(twin(x), expected)
    before = twin[0].conv2d.weight.clone()
    with torch.no_grad():
        for p in twin.parameters():
            p.mul_(2)
    assert not torch.allclose(twin(x), expected)  # the biases have doubled
    torch.testing.assert_close(twin[0].conv2d.weight, before)  # normalising cancels the factor 2
