# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The inference form of every network is the function that its recipe restores with."""
import pytest
import torch
from torch import nn

from deploy.export_form import HalfForm, export_form, restores_by_batch
from models import build_recipe
from restore.description import describe
from tests.helpers.deployed import SMALL, random_recipe, restored_one_by_one

SPARNET, HD, FSRNET, GPEN = SMALL["sparnet"], SMALL["sparnethd"], SMALL["fsrnet"], SMALL["gpen"]
CASES = {
    "sparnet": SPARNET, "sparnet residual spar3d": SPARNET | {"att_name": "spar3d", "residual": True},
    "sparnet skips": SPARNET | {"skips": True, "residual": True},
    "sparnet instance norm": SPARNET | {"Gnorm": "in"}, "sparnet without norm": SPARNET | {"Gnorm": "none"},
    "sparnethd 2d": HD, "sparnethd 3d": HD | {"att_name": "spar3d"}, "sparnethd batch norm": HD | {"Gnorm": "bn"},
    "sparnethd multiple": HD | {"channel_multiple": 8},
    "fsrnet": FSRNET, "fsrnet heatmaps": FSRNET | {"hmaps_ch": 3, "pmaps_ch": 0},
    "fsrnet tied": FSRNET | {"tied": True},
    "gpen": GPEN, "gpen colorization": GPEN | {"dataset_name": "colorization"},
    "gpen keeping luma": GPEN | {"dataset_name": "colorization", "keep_luma": True},
    "gpen seg2face": GPEN | {"dataset_name": "seg2face"},
    "gpen 256": GPEN | {"load_size": 256, "channel_multiplier": 1},
    "gpen 512": GPEN | {"load_size": 512, "narrow": 0.02}}


@pytest.mark.parametrize("name", CASES)
def test_the_form_equals_the_recipe(name):
    recipe, size = random_recipe(CASES[name]), CASES[name]["load_size"]
    before = {key: value.clone() for key, value in recipe.networks["G"].state_dict().items()}
    form = export_form(recipe)
    for count in (1, 3) if size < 512 else (1,):
        faces = torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
        with torch.no_grad(), recipe.evaluating():
            wanted = restored_one_by_one(recipe, faces) if name == "fsrnet tied" else recipe.restore(faces)
            found = form(faces)
        # Tied: instance norms of nearly constant maps amplify rounding.
        assert (found - wanted).abs().max() <= (1e-3 if name == "fsrnet tied" else 1e-5) * wanted.abs().max()
    after = recipe.networks["G"].state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)
    assert restores_by_batch(recipe) == (name == "fsrnet tied")
    kinds = {type(module).__name__ for module in form.modules()}
    assert not kinds & {"UpConv2d", "InstanceNorm", "Resample", "EqualConv2d", "EqualLinear"}
    assert not any("weight_orig" in key or "weight_u" in key for key in form.state_dict())


@pytest.mark.parametrize("size, narrow", [(1024, 0.04), (2048, 0.07)])
def test_the_largest_sizes_have_a_form(size, narrow):
    """Their layers are those of the smaller ones; a forward pass would take seconds."""
    network = random_recipe(GPEN | {"load_size": size, "narrow": narrow})
    form = export_form(network)
    assert len(form.to_rgbs) == len(form.encoder) == network.networks["G"].depth
    assert len(form.convs) == 2 * len(form.encoder) - 1


def test_an_untied_network_with_equal_blocks_counts_as_tied():
    recipe = random_recipe(FSRNET)
    for part in (recipe.networks["G"].csr_net, recipe.networks["G"].fsr_enc, recipe.networks["G"].fsr_dec):
        for block in part.res_blocks[1:]:
            block.load_state_dict(part.res_blocks[0].state_dict())
    assert restores_by_batch(recipe)
    form = export_form(recipe)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in form.modules())


@pytest.mark.parametrize("name", ["sparnet", "sparnethd 2d", "fsrnet", "gpen"])
def test_the_half_form_is_close(name):
    recipe, size = random_recipe(CASES[name]), CASES[name]["load_size"]
    form = export_form(recipe)
    faces = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        wanted, found = form(faces), HalfForm(form)(faces)
    assert found.dtype == torch.float32
    assert 0 < (found - wanted).abs().max() < 5e-2 * wanted.abs().max()
    assert next(form.parameters()).dtype == torch.float32  # a copy was halved


def test_batch_norm_behind_a_convolution_is_gone():
    """Only the norms before an activation that no convolution precedes stay: one per face attention unit."""
    form = export_form(random_recipe(SPARNET))
    names = [name for name, module in form.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert names and all("preact_func" in name for name in names)


def test_a_network_that_restores_nothing_has_no_form():
    recipe = build_recipe(describe(GPEN | {"stage": "prior"}).options())
    with pytest.raises(Exception, match="generate faces and do not restore any"):
        export_form(recipe)
