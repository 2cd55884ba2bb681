# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""SPARNet: released keys and reference outputs, layers, attention maps, gradients, precision and export."""

from argparse import Namespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from models import create_network
from models.blocks import ConvLayer, FaceAttentionUnit, HourGlass, UpConv2d
from models.init import init_weights
from models.sparnet import SPARNet, attention_maps
from models.weights import WeightsError, count_parameters, load_pretrained, load_weights
from tests.helpers.released import check_released, fill, probe, relative

RELEASED = {"sparnet_v16_attn2d": "10.519", "sparnet_light_attn3d": "5.242"}


def compact(**overrides):
    """Returns a small network in eval mode; its weights differ per layer, to expose a wrong one."""
    net = create_network("sparnet_compact", **overrides)
    net.load_state_dict(fill(net.state_dict()))
    return net.eval()


@pytest.mark.parametrize("name", RELEASED)
def test_released_network(name):
    check_released(name, RELEASED[name], (2, 3, 128, 128), lambda sr: [sr[..., ::4, ::4]])


def test_compact_size():
    assert 0.3e6 < count_parameters(create_network("sparnet_compact")) < 0.4e6


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 4), (16, 16)])
@pytest.mark.parametrize("bias", [True, False])
def test_up_convolution_equals_its_plain_form(size, bias):
    torch.manual_seed(0)
    layer = UpConv2d(5, 4, bias=bias).double()
    x = torch.randn(2, 5, *size, dtype=torch.double, requires_grad=True)
    large = F.interpolate(x, size=(2 * size[0], 2 * size[1]), mode="nearest")
    plain = F.conv2d(F.pad(large, (1, 1, 1, 1), mode="reflect"), layer.weight, layer.bias)
    output = layer(x)
    torch.testing.assert_close(output, plain)
    leaves = [x, *layer.parameters()]
    cotangent = torch.randn_like(plain)
    for got, want in zip(torch.autograd.grad(output, leaves, cotangent),
                         torch.autograd.grad(plain, leaves, cotangent), strict=True):
        torch.testing.assert_close(got, want)


def test_down_convolution_halves_rounding_up():
    assert ConvLayer(3, 4, scale="down")(torch.randn(1, 3, 9, 8)).shape == (1, 4, 5, 4)


def test_hourglass_takes_odd_sizes():
    hourglass = HourGlass(2, 6, 1, width=8).eval()
    assert hourglass(torch.randn(1, 6, 9, 11)).shape == (1, 1, 9, 11)


def test_other_sizes_and_widths():
    net = SPARNet(in_size=64, out_size=128, min_ch=4, max_ch=16, res_depth=1, hourglass_ch=4, norm_type="in")
    with torch.no_grad():
        assert net(torch.zeros(1, 3, 64, 64)).shape == (1, 3, 128, 128)
    assert not any("running" in key for key in net.state_dict())


@pytest.mark.parametrize(("arguments", "word"), [
    ({"att_name": "spar4d"}, "att_name"),
    ({"norm_type": "gn"}, "norm_type"),
    ({"relu_type": "gelu"}, "relu_type"),
    ({"in_size": 100}, "power of two"),
    ({"out_size": 8}, "power of two"),
    ({"res_depth": -1}, "res_depth"),
    ({"min_feat_size": 128}, "halvings"),
    ({"bottleneck_size": 32}, "hourglasses"),
])
def test_arguments_that_do_not_fit(arguments, word):
    with pytest.raises(ValueError, match=word):
        create_network("sparnet_compact", **arguments)


@pytest.mark.parametrize("norm_type", ["bn", "in", "none"])
def test_activation_in_place_leaves_the_shortcut_alone(norm_type):
    unit = FaceAttentionUnit(6, 6, "none", 1, 1, width=4, norm_type=norm_type)
    x = torch.randn(2, 6, 8, 8)
    before = x.clone()
    unit(x)
    assert torch.equal(x, before)


def test_in_place_activations_keep_the_gradient():
    gradients = []
    for inplace in (True, False):
        net = compact(res_depth=0).train()
        for module in net.modules():
            if isinstance(module, nn.LeakyReLU):
                module.inplace &= inplace
        net(probe((2, 3, 64, 64))).square().mean().backward()
        gradients.append([p.grad for p in net.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize("att_name", ["spar", "spar3d"])
def test_attention_maps(att_name):
    net = compact(att_name=att_name)
    x = probe((2, 3, 64, 64))
    plain = net(x)
    with attention_maps(net) as maps:
        watched = net(x)
    assert torch.equal(plain, watched)
    assert list(maps) == ["encoder.1", "encoder.2", "encoder.3", "res_layers.0", "res_layers.1",
                          "decoder.0", "decoder.1", "decoder.2"]
    many = att_name == "spar3d"
    assert maps["encoder.1"].shape == (2, 16 if many else 1, 32, 32)
    assert maps["res_layers.1"].shape == (2, 32 if many else 1, 8, 8)
    assert maps["decoder.2"].shape == (2, 8 if many else 1, 64, 64)
    for attention in maps.values():
        assert not attention.requires_grad
        assert attention.min() >= 0 and attention.max() <= 1
        assert attention.std() > 0

    before = maps["decoder.2"].clone()
    net(-x)  # after the block, nothing is collected
    assert torch.equal(maps["decoder.2"], before)
    assert not any(module._forward_hooks for module in net.modules())


def test_attention_map_multiplies_the_branch():
    unit = FaceAttentionUnit(6, 6, "none", 1, 1, width=4).eval()
    nn.init.constant_(unit.att_func.out_block[0].conv2d.bias, -1e4)  # a map of zeros
    x = torch.randn(1, 6, 8, 8)
    assert torch.equal(unit(x), x)


def test_channels_last_equals_contiguous():
    """Uses float64: rounding can move a value across the activation's kink, where the gradient jumps."""
    results = []
    for layout in (torch.contiguous_format, torch.channels_last):
        net = compact().double().train().to(memory_format=layout)
        output = net(probe((2, 3, 64, 64)).double().to(memory_format=layout))
        output.square().mean().backward()
        assert output.is_contiguous(memory_format=layout)
        results.append((output.detach(), net.encoder[0].conv2d.weight.grad,
                        net.decoder[2].att_func.b3_1.conv2d.weight.grad))
    for contiguous, last in zip(*results, strict=True):
        assert relative(last, contiguous) < 1e-9


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_weights_with_float32_batch_norm(dtype):
    net = compact().train().to(dtype)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.float()
    reference = compact().train()
    x = probe((2, 3, 64, 64))
    output = net(x.to(dtype))
    assert output.dtype == dtype
    assert relative(output.float(), reference(x)) < (0.1 if dtype == torch.bfloat16 else 0.02)
    output.float().abs().mean().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.dtype == (torch.float32 if ".norm." in name else dtype), name


def test_two_passes_before_one_backward():
    net = compact(res_depth=0).train()
    x = probe((2, 3, 64, 64))
    (net(x) - net(x.flip(3))).square().mean().backward()
    assert all(parameter.grad.isfinite().all() for parameter in net.parameters())


def test_training_lowers_the_loss():
    torch.manual_seed(0)
    net = init_weights(create_network("sparnet_compact", res_depth=0))
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    target = F.interpolate(probe((2, 3, 8, 8)), size=(64, 64), mode="bicubic")
    losses = []
    for _ in range(12):
        loss = F.l1_loss(net(target), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.75 * losses[0], losses


def test_exports_and_gives_the_same_output():
    net = compact(res_depth=0)
    x = probe((1, 3, 64, 64))
    exported = torch.export.export(net, (x,)).module()
    assert relative(exported(x), net(x)) < 1e-6


def start(net, path):
    """Loads `path` as newtrain.py's --pretrain_model_path and returns the note."""
    return load_pretrained({"G": net}, Namespace(pretrain_model_path=path, pretrain_d_path=None))


@pytest.mark.parametrize("norm", ["bn", "in", "none"])
def test_a_network_with_skips_starts_as_the_one_without(norm, tmp_path):
    """Its new parts are neutral until they learn, and they do learn."""
    plain, skipping = compact(norm_type=norm), create_network("sparnet_compact", norm_type=norm, skips=True).eval()
    torch.save(plain.state_dict(), tmp_path / "plain.pth")
    with pytest.raises(WeightsError, match="of a network without skips: set --skips false"):
        load_weights(skipping, tmp_path / "plain.pth")  # restoring needs all weights
    assert "lacks fine, fine_conv, fusions, skips: they start without effect" in start(skipping, tmp_path / "plain.pth")
    torch.save(skipping.state_dict(), tmp_path / "skipping.pth")
    assert start(skipping, tmp_path / "skipping.pth") is None
    with pytest.raises(WeightsError, match="of a network with skips: set --skips true"):
        load_weights(plain, tmp_path / "skipping.pth")
    x = probe((1, 3, 128, 128), 0)
    with torch.no_grad():
        assert torch.equal(plain(x), skipping(x))
    skipping(x).square().mean().backward()
    last = "conv2.conv2d" if norm == "none" else "conv2.norm"
    learning = {name: parameter.grad for name, parameter in skipping.named_parameters()
                if name.startswith(("skips.", "fine_conv.")) or name.startswith("fusions.") and last in name}
    assert {name.partition(".")[0] for name in learning} == {"skips", "fusions", "fine_conv"}
    assert all(gradient.abs().sum() > 0 for gradient in learning.values())
    torch.save({"other": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="another kind of network"):
        start(skipping, tmp_path / "other.pth")


def test_skips_carry_what_the_smallest_features_cannot():
    """With the body cut off, a network still sees its input through each of its skips, and through nothing else."""
    for ways in ((), (0,), (1,), ("fine",)):
        net = compact(skips=bool(ways))
        cut = [net.encoder[-1]]
        if ways:
            cut += [skip for i, skip in enumerate(net.skips) if i not in ways]
            cut += [] if "fine" in ways else [net.fine]
        for module in cut:
            module.register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
        with torch.no_grad():
            changed = (net(probe((1, 3, 128, 128), 0)) - net(probe((1, 3, 128, 128), 1))).abs().max()
        assert (changed > 0) == bool(ways), ways
    assert len(net.skips) == len(net.fusions) == 2
    with pytest.raises(ValueError, match="skips: in_size 128 and out_size 256"):
        compact(skips=True, out_size=256)


def test_recomputed_skips_give_the_same_gradients(monkeypatch):
    calls = []

    def counted(block, *inputs, **options):
        calls.append(block)
        return checkpoint(block, *inputs, **options)
    monkeypatch.setattr("models.sparnet.checkpoint", counted)
    kept, recomputed = (compact(norm_type="in", skips=True, checkpointing=on) for on in (False, True))
    for net in (kept, recomputed):
        net(probe((1, 3, 128, 128), 0)).square().mean().backward()
    assert set(calls) >= {*recomputed.fusions, recomputed.fine} and not set(calls) & {*kept.fusions, kept.fine}
    for (name, one), other in zip(kept.named_parameters(), recomputed.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, msg=name)
