# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""benchmarks/skips.py measures two networks that differ by their skips alone."""
import torch

from benchmarks import skips


def test_the_rows(monkeypatch):
    built = []
    build = skips.build_recipe

    def recorded(options):
        recipe = build(options)
        built.append(recipe.networks["G"])
        return recipe
    monkeypatch.setattr(skips, "build_recipe", recorded)
    row = skips.measure("restoring", skips.restoring, 1, torch.device("cpu"), 1)
    kinds = [net.with_skips for net in built]
    assert kinds == [True, False] and all(net.residual for net in built) and row["with / without"] > 0
    trained, step = [], skips.bare_step
    monkeypatch.setattr(skips, "bare_step", lambda options, *rest: trained.append(options) or step(options, *rest))
    row = skips.measure("training O0", lambda *job: skips.training(*job, "O0"), 1, torch.device("cpu"), 1)
    assert [options.skips for options in trained] == [True, False]
    assert row["batch"] == 1 and row["with s"] > 0 and row["without s"] > 0
