# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""deploy/formats.py: float16 networks are traced quickly, and the files do not show it."""
import contextlib

import onnxslim
import pytest
import torch
from torch.nn import functional as F

from deploy import formats
from deploy.export_form import HalfForm, export_form
from tests.helpers.deployed import SMALL, random_recipe


def test_float16_convolutions_are_computed_in_float32_meanwhile():
    torch.manual_seed(0)
    x, weight, bias = torch.randn(1, 4, 9, 9).half(), torch.randn(6, 4, 3, 3).half(), torch.randn(6).half()
    wide = F.conv2d(x.float(), weight.float(), bias.float(), stride=2, padding=1)
    transposed = F.conv_transpose2d(x.float(), weight.transpose(0, 1).float(), stride=2)
    with torch.no_grad(), formats._half_in_float32():
        assert torch.equal(F.conv2d(x, weight, bias, stride=2, padding=1), wide.half())
        assert torch.equal(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), transposed.half())
        assert torch.equal(F.conv2d(x.float(), weight.float(), bias.float(), stride=2, padding=1), wide)


@pytest.mark.parametrize("name", ["sparnet", "gpen"])
def test_the_file_is_the_same(monkeypatch, name):
    monkeypatch.setattr(onnxslim, "slim", lambda model: model)  # slow; what it is given decides what it returns
    form, size = HalfForm(export_form(random_recipe(SMALL[name]))), SMALL[name]["load_size"]
    quick = formats.serialize_onnx(form, size, {})
    monkeypatch.setattr(formats, "_half_in_float32", contextlib.nullcontext)
    assert quick == formats.serialize_onnx(form, size, {})
