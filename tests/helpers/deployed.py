# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Small networks with random weights and statistics, for the tests of deploy/."""
import torch
from safetensors.torch import save_file

from models import build_recipe
from restore.description import describe
from tests.helpers.paths import ROOT

SMALL = {
    "sparnet": {"model": "sparnet", "load_size": 32, "min_ch": 4, "max_ch": 8, "hourglass_ch": 4, "res_depth": 0,
                "bottleneck_size": 16},
    "sparnethd": {"model": "sparnethd", "load_size": 32, "min_feat_size": 8, "min_ch": 8, "max_ch": 16, "res_depth": 0,
                  "hourglass_ch": 8, "bottleneck_size": 16, "dataset_name": "ffhq", "Gnorm": "in"},
    "fsrnet": {"model": "fsrnet", "load_size": 32, "width": 8, "enc_blocks": 2, "hourglasses": 1, "hmaps_ch": 2,
               "pmaps_ch": 3},
    "gpen": {"model": "gpen", "load_size": 16, "narrow": 0.05, "style_dim": 16, "dataset_name": "blind"}}


def random_recipe(options):
    """Returns the recipe of these options, whose statistics and biases are not their first, trivial values."""
    torch.manual_seed(0)
    recipe = build_recipe(describe(options).options())
    rng = torch.Generator().manual_seed(0)
    for name, tensor in (*recipe.networks["G"].named_parameters(), *recipe.networks["G"].named_buffers()):
        with torch.no_grad():
            if "running_var" in name:
                tensor.uniform_(0.5, 2, generator=rng)
            elif "running_mean" in name or "noise" in name:
                tensor.normal_(generator=rng)
            elif "weight_u" in name or "weight_v" in name:  # close to the singular vectors, as after a training
                continue
            elif tensor.dim() == 1:
                tensor.add_(torch.randn(tensor.shape, generator=rng) * 0.2)
            elif tensor.is_floating_point() and tensor.dim() == 4 and "upsampling" not in name and "kernel" not in name:
                fan = tensor[0].numel() ** 0.5
                tensor.copy_(torch.randn(tensor.shape, generator=rng) * (1 if options["model"] == "gpen" else 1 / fan))
    network = recipe.networks["G"]
    with torch.no_grad():
        if options["model"] == "sparnethd":
            network.train()
            for _ in range(3):
                network(torch.zeros(2, 3, options["load_size"], options["load_size"]).normal_(generator=rng))
        network.eval()
    return recipe


def restored_one_by_one(recipe, faces):
    return torch.cat([recipe.restore(face) for face in faces.split(1)])


def save_recipe(folder, options, **known):
    """Writes random weights with their description into `folder`; returns the path. known: fields of the description.
    """
    from dataclasses import replace
    network = random_recipe(options).networks["G"]
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state, folder / "w.safetensors", replace(describe(options), **known).metadata())
    return folder / "w.safetensors"


def assert_atc_reads(model):
    """Holds every operator against the list of Ascend's ONNX parser."""
    known = set((ROOT / "tests/fixtures/ascend_onnx_operators.txt").read_text(encoding="utf-8").split())
    assert not {node.op_type for node in model.graph.node} - known
    assert {node.domain for node in model.graph.node} == {""}
