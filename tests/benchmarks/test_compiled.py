# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""benchmarks/compiled.py compares the same step: torch.compile is replaced, since it takes long."""
import torch

from benchmarks import compiled, layout


def test_one_form_of_both_is_compiled(monkeypatch, one_thread):
    words = ("--preset=sparnet_builtin", "--load_size=64", "--min_ch=4", "--max_ch=4", "--hourglass_ch=4",
             "--bottleneck_size=16", "--batch_size=2")
    monkeypatch.setitem(layout.RECIPES, "half", words)
    seen = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda net: seen.append(type(net).__name__))
    first, seconds = compiled.measure("half", 2)
    assert seen == ["SPARNet"] and first > 0
    assert {form: len(values) for form, values in seconds.items()} == {"eager": 2, "compiled": 2}
