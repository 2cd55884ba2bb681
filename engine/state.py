# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The state of a training run: named parts that are saved together and restored together, in one place.

A part is any object with state_dict() and load_state_dict(saved). `TrainingState.add` registers a part and, when a run
continues, restores it at once: parts depend on each other in this order (networks load in float32, before mixed
precision; optimizers load after it). A checkpoint holds one entry per part, under the part's name.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

import utils.device
from engine import checkpoint
from engine.precision import RECORD
from models.weights import WeightsError, match_weights
from utils import distributed
from utils.errors import UserError


class TrainingState:
    """The parts of a run in `folder`. saved: the checkpoint to continue from ({part name: its state}), or None."""

    def __init__(self, folder: Path, saved: Mapping[str, Any] | None):
        self.folder = folder
        self._saved = saved
        self._parts: dict[str, Any] = {}

    @property
    def continues(self) -> bool:
        """Whether the run continues from a checkpoint."""
        return self._saved is not None

    def add(self, name: str, part: Any) -> Any:
        """Registers `part` under `name`, restores it from the checkpoint if there is one, and returns it.

        An older checkpoint may lack a part; that part keeps its initial state. Raises UserError if the saved state
        does not fit.
        """
        self._parts[name] = part
        if self._saved is not None and name in self._saved:
            try:
                part.load_state_dict(self._saved[name])
            except UserError as error:
                raise UserError(f"--continue_train: the checkpoint in {self.folder} does not fit: {error}") from None
        return part

    def save(self, step: int, keep: int) -> None:
        """Writes the checkpoint of `step` and keeps the newest `keep`. All ranks call it: parts gather; rank 0 writes.

        Raises UserError, on every rank, if the state holds inf or nan, the disk is full or the folder cannot be
        written.
        """
        state = {name: part.state_dict() for name, part in self._parts.items()}
        distributed.from_main(lambda: checkpoint.save_state(self.folder, step, state, keep))

    def forget_saved(self) -> None:
        """Frees the memory of the checkpoint that the run continued from."""
        if self._saved is not None:
            self._saved = {}


@dataclass
class Progress:
    """How far the run is. `losses` and `bad_images` are shared with the objects that fill them, so update in place.

    samples: images trained on, over all ranks. best, last_val: validation records. losses: {name: newest mean}.
    bad_images: {path: message} of this rank; a checkpoint holds those of all ranks.
    """

    step: int = 0
    samples: int = 0
    best: dict | None = None
    last_val: dict | None = None
    elapsed: float = 0.0
    losses: dict = field(default_factory=dict)
    bad_images: dict = field(default_factory=dict)

    def state_dict(self) -> dict:
        bad = {path: text for part in distributed.gather(self.bad_images) for path, text in part.items()}
        return vars(self) | {"bad_images": bad, "losses": dict(self.losses)}

    def load_state_dict(self, saved: Mapping) -> None:
        for name in vars(self):
            if name in saved:
                setattr(self, name, saved[name])


def check_names(saved: Mapping, wanted: Mapping, what: str) -> None:
    """Raises UserError unless `saved` holds just the names of `wanted`; what: how the error calls them."""
    if set(saved) != set(wanted):
        held, now = (" and ".join(sorted(names)) or "none" for names in (saved, wanted))
        raise UserError(f"it has these {what}: {held}; now it would have: {now}. Go on with the options that the run "
                        f"was started with (options.yml there), or start another run from its weights "
                        f"(--pretrain_model_path).")


class Networks:
    """{role: nn.Module} as one part. what: how an error calls them.

    Networks restore in float32, strictly; see models/weights.py for what may differ.
    """

    def __init__(self, networks: Mapping[str, nn.Module], what: str = "networks"):
        self.networks, self.what = dict(networks), what

    def state_dict(self) -> dict:
        return {role: net.state_dict() for role, net in self.networks.items()}

    def load_state_dict(self, saved: Mapping) -> None:
        check_names(saved, self.networks, self.what)
        for role, net in self.networks.items():
            try:
                net.load_state_dict(match_weights(net, saved[role]))
            except WeightsError as error:
                raise UserError(f"it holds another network; {error}") from None


class Optimizers:
    """{name: optimizer of utils/amp.py} as one part. kinds: {name: kind}; a state of another kind is refused."""

    def __init__(self, optimizers: Mapping[str, Any], kinds: Mapping[str, str]):
        self.optimizers, self.kinds = optimizers, kinds

    def state_dict(self) -> dict:
        return {name: {"kind": self.kinds[name], **optimizer.state_dict()}
                for name, optimizer in self.optimizers.items()}

    def load_state_dict(self, saved: Mapping) -> None:
        check_names(saved, self.optimizers, "optimizers")
        for name, optimizer in self.optimizers.items():
            before = saved[name].get("kind", "adam")  # checkpoints from before RMSprop name no kind
            if before != self.kinds[name]:
                raise UserError(f"it was trained with {before}, not {self.kinds[name]}.")
            shapes = {parameter: master.shape for parameter, master in optimizer.masters.items()}
            for parameter, moments in saved[name]["params"].items():
                for key, value in moments.items():
                    if value.shape != shapes.get(parameter, value.shape):
                        raise UserError(f"optimizer {name}'s {key} of {parameter} has shape {tuple(value.shape)}, the "
                                        f"parameter {tuple(shapes[parameter])}.")
            optimizer.load_state_dict(saved[name])


class RecipeState:
    """The recipe's 0-d tensors that persist between lazy phases (models/base_model.py: `state`)."""

    def __init__(self, recipe: Any):
        self.recipe = recipe

    def state_dict(self) -> dict:
        return self.recipe.state

    def load_state_dict(self, saved: Mapping) -> None:
        for name, value in saved.items():
            if name not in self.recipe.state:
                raise UserError(f"it holds {name!r}, which this recipe does not know.")
            self.recipe.state[name].copy_(value)


class RandomNumbers:
    """torch's random number generators, one state per rank; numpy's are derived from seed, epoch and index instead."""

    def __init__(self, device):
        self.device = device

    def state_dict(self) -> list:
        return distributed.gather(utils.device.rng_state(self.device))

    def load_state_dict(self, saved: list) -> None:
        if len(saved) > distributed.rank():  # more ranks than before: the new ones keep their own seeds
            utils.device.set_rng_state(saved[distributed.rank()], self.device)


class Options:
    """The options of the run and the precision that they led to, for --continue_train (engine/precision.py)."""

    def __init__(self, options, precision: str):
        self.options, self.precision = options, precision

    def state_dict(self) -> dict:
        return vars(self.options) | {RECORD: self.precision}

    def load_state_dict(self, saved: Mapping) -> None:
        """The command line wins; differences were reported when the checkpoint was read."""
