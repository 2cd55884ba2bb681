# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Compares StyleGAN2's layers with the grouped, unfused form that the public code computes."""
import copy

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F

from benchmarks import gpen_grouped
from benchmarks.gpen_grouped import grouped_form
from models.init import init_weights
from models.stylegan2 import (
    BatchDeviation,
    BiasedLeakyReLU,
    ConvLayer,
    EqualLinear,
    ModulatedConv2d,
    PixelNorm,
    Resample,
    ResBlock,
    StyledConv,
    ToRGB,
    upfirdn2d,
)
from tests.helpers.released import relative

KERNEL = torch.arange(1.0, 17).view(4, 4) / 30  # asymmetric, to expose a flip


def randomised(layer):
    """Returns `layer` in float64, with biases and scalars that are not zero."""
    torch.manual_seed(0)
    for name, parameter in layer.named_parameters():
        if name.endswith("bias") or parameter.numel() == 1:
            torch.nn.init.normal_(parameter)
    return layer.double()


def picture(*shape, layout=torch.contiguous_format):
    return torch.randn(*shape, dtype=torch.double).contiguous(memory_format=layout).requires_grad_()


def test_the_plain_form_by_hand():
    row = torch.tensor([1.0, 2, 3]).view(1, 1, 1, 3)
    kernel = torch.tensor([[0.0, 0], [10, 1]])  # convolution: y[i] = 10 x[i] + x[i - 1], x being the row above
    # Upsampling inserts zeros: 1 0 2 0 3 0 / 0 0 0 0 0 0. Padding adds a row above and a column on the left.
    expected = torch.tensor([[0.0, 0, 0, 0, 0, 0], [10, 1, 20, 2, 30, 3]]).view(1, 1, 2, 6)
    for form in (gpen_grouped.upfirdn2d, upfirdn2d):
        assert torch.equal(form(row, kernel, up=2, pad=(1, 0)), expected)
        assert torch.equal(form(row, kernel, up=2, down=2, pad=(1, 0)), expected[:, :, ::2, ::2])


@pytest.mark.parametrize("up", [1, 2, 3])
@pytest.mark.parametrize("down", [1, 2])
@pytest.mark.parametrize("pad", [(0, 0), (1, 1), (2, 1), (1, 4), (4, 0), (-1, 3), (3, -1)])
def test_upfirdn2d_is_the_plain_one(up, down, pad):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 5, 8)
    for layout in (torch.contiguous_format, torch.channels_last):
        fast = upfirdn2d(x.contiguous(memory_format=layout), KERNEL, up, down, pad)
        torch.testing.assert_close(fast, gpen_grouped.upfirdn2d(x, KERNEL, up, down, pad), rtol=0, atol=1e-5)


@pytest.mark.parametrize("up, down, pad", [(1, 1, (2, 2)), (1, 2, (1, 1)), (2, 1, (2, 1)), (2, 2, (0, 3))])
def test_upfirdn2d_differentiates_twice(up, down, pad):
    torch.manual_seed(0)
    x = picture(1, 2, 3, 4)
    kernel = KERNEL.double()
    assert gradcheck(lambda x: upfirdn2d(x, kernel, up, down, pad), x)
    assert gradgradcheck(lambda x: upfirdn2d(x, kernel, up, down, pad).square(), x)


def test_resampling_keeps_brightness():
    x = torch.ones(1, 2, 8, 8)
    for layer, size in ((Resample(pad=(2, 2)), 9), (Resample(down=2, pad=(1, 1)), 4), (Resample(2, 1, (2, 1), 4), 16)):
        y = layer(x)
        assert y.shape[2:] == (size, size)
        torch.testing.assert_close(y[:, :, 2:-2, 2:-2], torch.ones_like(y[:, :, 2:-2, 2:-2]))


def derivatives(layer, x, *others):
    """Returns the output, its gradients for all leaves (x, others, parameters), and those of their sum of squares."""
    leaves = [x, *others, *layer.parameters()]
    y = layer(x, *others)
    torch.manual_seed(1)
    first = torch.autograd.grad((y * torch.randn(y.shape).to(y)).sum(), leaves, create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), leaves, allow_unused=True)
    return [y, *first, *(torch.zeros_like(leaf) if g is None else g for g, leaf in zip(second, leaves, strict=True))]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("layer, inputs", [
    (StyledConv(4, 6, 5), [(3, 5), (3, 6, 7, 5)]),
    (StyledConv(4, 6, 5, upsample=True), [(3, 5), (3, 6, 14, 10)]),
    (ToRGB(4, 5), [(3, 5), (3, 3, 4, 3)]),
    (ToRGB(4, 5, upsample=False), [(3, 5)]),
    (ConvLayer(4, 6, 3, downsample=True), []),
    (ConvLayer(4, 6, 1, downsample=True, activate=False), []),
    (ConvLayer(4, 6, 1), []),
    (ResBlock(4, 6), []),
], ids=lambda value: type(value).__name__ if isinstance(value, torch.nn.Module) else "")
def test_layers_equal_the_grouped_form_in_value_and_two_derivatives(layer, inputs, layout):
    layer = randomised(copy.deepcopy(layer))
    size = (8, 6) if type(layer) is ToRGB else (7, 5)
    x = picture(3, 4, *size)
    others = [picture(*shape) for shape in inputs]
    reference = derivatives(grouped_form(copy.deepcopy(layer)), x, *others)
    layer = layer.to(memory_format=layout)
    found = derivatives(layer, x.detach().contiguous(memory_format=layout).requires_grad_(), *others)
    for mine, theirs in zip(found, reference, strict=True):
        assert relative(mine, theirs) < 1e-9 if theirs.any() else not mine.any()


@pytest.mark.parametrize("upsample", [False, True])
def test_modulated_convolution_differentiates_twice(upsample):
    conv = randomised(ModulatedConv2d(2, 2, 3, upsample))
    names, parameters = zip(*conv.named_parameters(), strict=True)

    def call(x, latent, *parameters):
        y, demodulation = torch.func.functional_call(conv, dict(zip(names, parameters, strict=True)), (x, latent))
        return y * demodulation[:, :, None, None]
    inputs = (picture(2, 2, 2, 3), picture(2, 3), *parameters)
    assert gradcheck(call, inputs)
    assert gradgradcheck(call, inputs)


@pytest.mark.parametrize("upsample", [False, True])
def test_channels_last_lays_out_the_kernel_itself(upsample):
    conv = ModulatedConv2d(4, 6, 5, upsample).to(memory_format=torch.channels_last)
    assert conv.weight.shape == (1, 6, 4, 3, 3) and conv.kernel().is_contiguous(memory_format=torch.channels_last)
    assert conv.kernel().shape == ((4, 6, 3, 3) if upsample else (6, 4, 3, 3))
    conv.bfloat16()
    assert conv.weight.dtype == torch.bfloat16 and conv.kernel().is_contiguous(memory_format=torch.channels_last)


def test_demodulation_makes_up_for_the_size_of_weights_and_styles():
    torch.manual_seed(0)
    layer = StyledConv(16, 8, 4).eval()
    x, latent, feature = torch.randn(2, 16, 6, 6), torch.randn(2, 4), torch.zeros(2, 8, 6, 6)
    with torch.no_grad():
        expected = layer(x.clone(), latent, feature)
        layer.conv.weight *= 1000
        layer.conv.modulation.weight *= 1000
        layer.conv.modulation.bias *= 1000
        torch.testing.assert_close(layer(x.clone(), latent, feature), expected, rtol=1e-5, atol=1e-5)
        naive = F.conv2d(x * layer.conv.modulation(latent)[:, :, None, None], layer.conv.weight[0])
        assert naive.abs().max() > torch.finfo(torch.float16).max
        found = layer.half()((50 * x).half(), latent, feature.half()).float()
        assert found.isfinite().all()
        assert relative(found, 50 * expected) < 5e-3


def test_a_style_of_zeros_gives_zeros():
    layer = ModulatedConv2d(3, 2, 4)
    torch.nn.init.zeros_(layer.modulation.bias)
    x = torch.randn(1, 3, 4, 4, requires_grad=True)
    y, demodulation = layer(x, torch.zeros(1, 4))
    (y * demodulation[:, :, None, None]).square().sum().backward()
    assert not y.any() and demodulation.isfinite().all()
    assert all(p.grad.isfinite().all() for p in layer.parameters())


def test_linear_layers_stay_in_float32():
    layer = EqualLinear(512, 8, lr_mul=0.01, activate=True)  # weights of about 100: float16 sums lose precision
    assert 90 < layer.weight.std() < 110
    x = torch.randn(2, 512)
    reference = gpen_grouped.linear(layer, x)
    torch.testing.assert_close(layer(x), reference)
    found = layer.half()(x.half())
    assert found.dtype == torch.float32 and relative(found, reference) < 2e-3


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_styles_and_demodulation_are_float32_under_autocast(half):
    """Under O1, all other matrix products run in half precision."""
    torch.manual_seed(0)
    conv, latent = ModulatedConv2d(16, 8, 32), torch.randn(2, 32)
    expected = conv.modulate(latent)
    with torch.autocast("cpu", half):
        found = conv.modulate(latent)
        assert F.linear(latent, latent).dtype == half
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(found, expected, strict=True))


def test_pixel_norm():
    y = PixelNorm()(torch.tensor([[3.0, 4.0]]))
    torch.testing.assert_close(y, torch.tensor([[3.0, 4.0]]) / 12.5 ** 0.5)


@pytest.mark.parametrize("upsample", [False, True])
def test_styled_convolution_overwrites_only_without_gradients(upsample):
    torch.manual_seed(0)
    layer = StyledConv(8, 4, 5, upsample)
    size = (12, 10) if upsample else (6, 5)
    x, latent, feature = torch.randn(2, 8, 6, 5), torch.randn(2, 5), torch.randn(2, 4, *size)
    before, kept = x.clone(), feature.clone()
    expected = layer(x, latent, feature)
    assert torch.equal(x, before)
    with torch.no_grad():
        y = layer(x, latent, feature)
    torch.testing.assert_close(y, expected)
    assert torch.equal(feature, kept) and (y.data_ptr() == x.data_ptr()) is not upsample


def test_activation_overwrites_only_without_gradients():
    layer = BiasedLeakyReLU(3)
    torch.nn.init.normal_(layer.bias)
    x, gain = torch.randn(2, 3, 4, 4), torch.randn(2, 3)
    before = x.clone()
    expected = F.leaky_relu(x * gain[:, :, None, None] + layer.bias[:, None, None], 0.2) * 2 ** 0.5
    torch.testing.assert_close(layer(x, gain), expected)
    assert torch.equal(x, before)
    with torch.no_grad():
        y = layer(x, gain)
    torch.testing.assert_close(y, expected)
    assert y.data_ptr() == x.data_ptr()


def test_deviation_over_the_batch_by_hand():
    x = torch.tensor([[1.0, 2], [3, 2], [5, 2]]).view(3, 2, 1, 1)  # standard deviations: sqrt(8 / 3) and 0
    y = BatchDeviation()(x)
    assert torch.equal(y[:, :2], x)
    torch.testing.assert_close(y[:, 2], torch.full((3, 1, 1), ((8 / 3) ** 0.5 + 1e-4) / 2))
    one = BatchDeviation()(x[:1].requires_grad_())
    torch.testing.assert_close(one[:, 2], torch.full((1, 1, 1), 1e-4))
    assert torch.autograd.grad(one.sum(), one)[0].isfinite().all()
    assert BatchDeviation()(100 * x.half())[0, 2].float().item() == pytest.approx(50 * (8 / 3) ** 0.5, rel=1e-3)


def test_init_weights_leaves_equalised_layers_alone():
    torch.manual_seed(0)
    layer = ConvLayer(8, 16, 3)
    before = layer[0].weight.clone()
    assert 0.9 < before.std() < 1.1 and torch.equal(init_weights(layer)[0].weight, before)
