# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""RRDBNet: its values beside a plain form of the paper's equations, and which weights it takes."""
import pytest
import torch
from torch.nn import functional

from models.rrdbnet import RRDBNet
from models.weights import WeightsError


def plain(weights, x, blocks):
    """The network by the paper, from its weights alone."""
    def convolve(name, x):
        return functional.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1)

    def active(x):
        return torch.where(x > 0, x, 0.2 * x)

    def dense(name, x):
        seen = [x]
        for number in range(1, 5):
            seen.append(active(convolve(f"{name}.conv{number}", torch.cat(seen, 1))))
        return 0.2 * convolve(f"{name}.conv5", torch.cat(seen, 1)) + x
    first = deep = convolve("conv_first", x)
    for block in range(blocks):
        inside = deep
        for number in (1, 2, 3):
            inside = dense(f"body.{block}.rdb{number}", inside)
        deep = deep + 0.2 * inside
    x = first + convolve("conv_body", deep)
    for name in ("conv_up1", "conv_up2"):
        x = active(convolve(name, x.repeat_interleave(2, 2).repeat_interleave(2, 3)))
    return convolve("conv_last", active(convolve("conv_hr", x)))


def made(features=6, blocks=2, growth=4):
    torch.manual_seed(0)
    return RRDBNet(features, blocks, growth).eval().requires_grad_(False)


def test_values_and_shape():
    network, x = made(), torch.rand(2, 3, 7, 5, generator=torch.Generator().manual_seed(1))
    found = network(x)
    assert found.shape == (2, 3, 28, 20)
    torch.testing.assert_close(found, plain(network.state_dict(), x, 2), rtol=1e-5, atol=1e-6)


def test_the_published_size_and_its_keys():
    with torch.device("meta"):
        network = RRDBNet()
    assert sum(parameter.numel() for parameter in network.parameters()) == 16_697_987
    keys = [key.removesuffix(".weight") for key in network.state_dict() if key.endswith(".weight")]
    assert len(keys) == 351 and keys[:2] == ["conv_first", "body.0.rdb1.conv1"]
    assert keys[-6:] == ["body.22.rdb3.conv5", "conv_body", "conv_up1", "conv_up2", "conv_hr", "conv_last"]


def test_older_names_and_every_size_are_taken():
    network = made()
    old = {}
    for key, tensor in network.state_dict().items():
        for new, name in (("conv_body", "trunk_conv"), ("body.", "RRDB_trunk."), ("conv_up", "upconv"),
                          ("conv_hr", "HRconv"), ("rdb", "RDB")):
            key = key.replace(new, name)
        old[key] = tensor
    assert "RRDB_trunk.1.RDB3.conv5.bias" in old and "trunk_conv.weight" in old and "upconv2.bias" in old
    for state in (old, network.state_dict()):
        found, renamed = RRDBNet.of_weights(state)
        found.load_state_dict(renamed)
        assert torch.equal(found(torch.ones(1, 3, 4, 4)), network(torch.ones(1, 3, 4, 4)))


@pytest.mark.parametrize("change, message", [
    (lambda state: {"weight": torch.zeros(3)}, "not those of an RRDBNet"),
    (lambda state: state | {"conv_first.weight": torch.zeros(6, 12, 3, 3)}, "does not enlarge 4 times"),
    (lambda state: {key: value for key, value in state.items() if "conv_up2" not in key}, "does not enlarge 4 times")])
def test_weights_of_others_are_refused(change, message):
    with pytest.raises(WeightsError, match=message):
        RRDBNet.of_weights(change(made().state_dict()))
