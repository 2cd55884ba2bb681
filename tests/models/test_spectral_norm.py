"""The network-wide spectral norm against torch's own, layer by layer."""
import copy
import warnings

import pytest
import torch
from torch import nn

from models import spectral_norm
from models.blocks import ConvLayer
from models.spectral_norm import add_spectral_norm


def small_net():
    torch.manual_seed(0)
    return nn.Sequential(ConvLayer(3, 8), ConvLayer(8, 8, "down", "in", "leakyrelu"), ConvLayer(8, 8, "up"),
                         ConvLayer(8, 8), ConvLayer(8, 3)).double()


@pytest.fixture(params=["together", "one by one", "one by one, channels_last"])
def pair(request, monkeypatch):
    """(ours, torch's) from the same weights and vectors; small matrices and, by another limit, large ones."""
    ours, torchs = small_net(), small_net()
    if request.param != "together":
        monkeypatch.setattr(spectral_norm, "LARGE", 100)
    if "channels_last" in request.param:
        ours.to(memory_format=torch.channels_last)
    add_spectral_norm(ours)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in torchs.modules():
            if isinstance(module, nn.Conv2d):
                nn.utils.spectral_norm(module)
    torchs.double()
    ours.double()
    assert list(ours.state_dict()) == list(torchs.state_dict())
    torchs.load_state_dict(ours.state_dict())
    return ours, torchs


def test_it_is_torchs_in_value_gradient_and_vectors(pair):
    x = torch.randn(2, 3, 16, 16, dtype=torch.double)
    for step in range(4):
        for net in pair:
            net.train(step != 2)
            net.zero_grad()
        a, b = (net(x) for net in pair)
        torch.testing.assert_close(a, b)
        (a.square().sum() + b.square().sum()).backward()
        for (name, p), (_, q) in zip(pair[0].named_parameters(), pair[1].named_parameters(), strict=True):
            torch.testing.assert_close(p.grad, q.grad, msg=name)
        for (name, p), (_, q) in zip(pair[0].named_buffers(), pair[1].named_buffers(), strict=True):
            torch.testing.assert_close(p, q, msg=name)


def test_two_calls_before_one_backward_keep_their_own_weights(pair):
    """As a discriminator sees real and fake pictures."""
    x = torch.randn(2, 2, 3, 16, 16, dtype=torch.double)
    for net in pair:
        (net(x[0]).square().sum() + net(x[1]).abs().sum()).backward()
    for p, q in zip(pair[0].parameters(), pair[1].parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad)


def test_a_deep_copy_normalises_its_own_weights(pair):
    net, x = pair[0], torch.randn(1, 3, 16, 16, dtype=torch.double)
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
    assert not torch.allclose(twin(x), expected)  # the biases
    torch.testing.assert_close(twin[0].conv2d.weight, before)  # a weight's size is divided away
