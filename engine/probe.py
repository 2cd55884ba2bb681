# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""A trial of the next step's losses: it tells whether the networks are fit to be saved."""
import math
from collections.abc import Mapping

import torch
from torch import nn

import utils.device
from models.base_model import BaseModel
from utils import distributed
from utils.errors import UserError


def refuse_diverged(recipe: BaseModel, networks: Mapping[str, nn.Module], faces: Mapping[str, torch.Tensor],
                    step: int) -> None:
    """Raises UserError, on every rank, unless all losses of the step after `step` would be finite.

    Weights that one update has thrown to 1e30 are finite numbers, but every training that continues from them fails.
    networks: {role: module}, not wrapped for data parallelism. faces: a batch on the device. Weights, buffers, random
    numbers and the recipe's state are afterwards as they were. All ranks call it.
    """
    device = next(iter(faces.values())).device
    kept = [*(buffer for net in networks.values() for buffer in net.buffers()), *recipe.state.values()]
    before, rng, wrapped = [tensor.clone() for tensor in kept], utils.device.rng_state(device), recipe.networks
    recipe.networks = dict(networks)
    try:
        losses = {name: value.detach() for _, of_phase in recipe.training_step(faces, step)
                  for name, value in of_phase.items()}
    finally:
        recipe.networks = wrapped
        for tensor, value in zip(kept, before, strict=True):
            tensor.copy_(value)
        utils.device.set_rng_state(rng, device)
    values = torch.stack(list(losses.values())).tolist()
    bad = next(((name, value) for name, value in zip(losses, values, strict=True) if not math.isfinite(value)), None)
    found = next(filter(None, distributed.gather(bad)), None)
    if found:
        raise UserError(f"the training has diverged: Loss_{found[0]} would be {found[1]} at step {step + 1}. Nothing "
                        f"of step {step} is saved, and earlier checkpoints are unchanged: go on from the newest with "
                        f"--continue_train and a lower --lr, or start again with one.", status=1)
