# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""A deployed ONNX file in the place of a recipe's network, so that the Restorer and newtest.py use it like weights."""
from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from models.base_model import BaseModel
from restore.description import Description
from utils.errors import UserError
from utils.onnx_file import OnnxNetwork


class DeployedNetwork(nn.Module):
    """Computes on the CPU, with the runtime called `runtime`: [N, 3, S, S] float32 -> likewise.

    parameter_count   number of the exported network's parameters
    """

    def __init__(self, path: str | Path, runtime: str) -> None:
        super().__init__()
        self.file = OnnxNetwork(path, runtime, torch.get_num_threads())
        self.parameter_count = int(self.file.metadata.get("parameters", 0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self.file(x.contiguous().numpy()))


def deployed_recipe(path: str | Path, runtime: str) -> BaseModel:
    """Returns a recipe that restores with the ONNX file at `path`. It has no prior maps, and nothing to train."""
    recipe = BaseModel()
    recipe.networks["G"] = DeployedNetwork(path, runtime)
    return recipe


def check_same_network(path: str | Path, found: Description, asked: Description) -> None:
    """Raises UserError if options ask for another network than the one in the ONNX file at `path`."""
    for name in ("model", "input_size", "arguments"):
        mine, theirs = getattr(found, name), getattr(asked, name)
        if mine == theirs:
            continue
        if name == "arguments":
            name = next((key for key in mine if mine[key] != theirs.get(key)), name)
        raise UserError(f"{path}: its network has another {name} than the options ask for. The file says which network "
                        f"it holds: leave out --model, --preset and the network's options.")
