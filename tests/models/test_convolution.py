# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Compares the project's convolutions with torch's on a processor with AVX2: values and two derivatives."""
import pytest
import torch
from torch.nn import functional as F

from models import convolution
from utils.processor import Processor

CASES = [  # transposed, size, stride, padding, output padding
    (False, 3, 1, 0, 0), (False, 3, 1, 1, 0), (False, 3, 2, 0, 0), (False, 7, 2, 3, 0), (False, 4, 1, 2, 0),
    (True, 4, 2, 3, 0), (True, 3, 2, 1, 1), (True, 3, 2, 0, 0)]


@pytest.fixture(autouse=True)
def with_avx2(monkeypatch):
    monkeypatch.setattr(convolution, "processor", lambda: Processor("Test CPU", ("AVX2",)))


def inputs(transposed, size):
    torch.manual_seed(0)
    shape = (33, 40) if transposed else (40, 33)
    weight = torch.randn(*shape, size, size)
    x = torch.randn(2, 33, 17, 19).contiguous(memory_format=torch.channels_last)
    return [t.requires_grad_() for t in (x, weight, torch.randn(40))]


def both(transposed, *settings):
    """Returns the functions (own, torch's) of (x, weight, bias)."""
    stride, padding, output_padding = settings
    if transposed:
        return [lambda *given, form=form: form(*given, stride, padding, output_padding)
                for form in (convolution.conv_transpose2d, F.conv_transpose2d)]
    return [lambda *given, form=form: form(*given, stride, padding) for form in (convolution.conv2d, F.conv2d)]


def assert_near(mine, theirs):
    assert (mine - theirs).abs().max() <= 1e-5 * theirs.abs().max()


@pytest.mark.parametrize(("transposed", "size", "stride", "padding", "output_padding"), CASES)
def test_it_is_torchs(transposed, size, stride, padding, output_padding, monkeypatch):
    monkeypatch.setattr(convolution, "STRIP", 3 * 19 * 40)  # several strips, the last one smaller
    found = []
    for form in both(transposed, stride, padding, output_padding):
        given = inputs(transposed, size)
        y = form(*given)
        factors = torch.linspace(-1, 1, y.numel()).view_as(y)
        found.append([y.detach(), *torch.autograd.grad((y * factors).sum(), given)])
    for mine, theirs in zip(*found, strict=True):
        assert_near(mine, theirs)


def test_gradients_of_gradients_are_torchs():
    found = []
    for form in both(False, 1, 1, 0):
        x, weight, bias = inputs(False, 3)
        slope, = torch.autograd.grad(form(x, weight, bias).square().sum(), x, create_graph=True)
        found.append(torch.autograd.grad(slope.square().sum(), [x, weight, bias]))
    for mine, theirs in zip(*found, strict=True):
        assert_near(mine, theirs)


def is_own(x, weight):
    y = convolution.conv2d(x, weight, None, 1, 1)
    return y.grad_fn is not None and type(y.grad_fn).__name__ == "_ConvolutionBackward"


def test_it_is_used_only_where_torchs_is_slow(monkeypatch):
    x, weight, _ = inputs(False, 3)
    assert is_own(x, weight)
    with torch.no_grad():
        assert not is_own(x, weight)
    assert not is_own(x.contiguous(), weight)  # torch's is fast in this layout
    assert not is_own(x, weight.detach())  # a frozen network
    assert not is_own(x[:, :, :7, :7].contiguous(memory_format=torch.channels_last), weight)
    assert not is_own(x.bfloat16(), weight.bfloat16())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not is_own(x, weight)
    for abilities in ((), ("AVX2", "AVX-512"), ("NEON",)):
        monkeypatch.setattr(convolution, "processor", lambda abilities=abilities: Processor("Test CPU", abilities))
        assert not is_own(x, weight)
