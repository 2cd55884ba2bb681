# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The weights that restore photos: chosen by --pretrained or --pth_path, and loaded."""
from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from restore.choice import AUTO
from restore.description import read_metadata
from utils.errors import UserError
from utils.pretrained import FOLDER, WEIGHTS, find_pretrained, pretrained_names


def photo_names() -> list[str]:
    """Returns the names of the shipped weights that restore faces in photos: those of another task do not.

    A file that cannot be read counts as such weights: the error comes if it is chosen.
    """
    def for_photos(name):
        try:
            described = read_metadata(FOLDER / name / WEIGHTS)
        except UserError:
            return True
        return not (described and described.other_task())
    return [name for name in pretrained_names() if for_photos(name)]


def photo_weights(pretrained: str | None, pth_path: str | None) -> dict[str, str | Path]:
    """Returns {name: path} of the weights. Raises UserError if both options are given or the name is unknown."""
    if pretrained and pth_path:
        raise UserError("--pretrained and --pth_path contradict each other: give one of them.")
    if pth_path:
        return {os.path.basename(pth_path): pth_path}
    if pretrained in (None, AUTO):
        return _of_several_sizes({name: find_pretrained(name) for name in pretrained_names()})
    return {pretrained: find_pretrained(pretrained)}


def _of_several_sizes(shipped):
    """Returns the shipped weights, {name: path}, that were trained on faces of several sizes; all if there are none.

    Those of one size are for faces that were reduced cleanly to that size, which is rare in photos. Weights of
    another task are left out.
    """
    described = {name: read_metadata(path) for name, path in shipped.items()}
    sides = {name: found.trained_sides() for name, found in described.items() if not found.other_task()}
    return {name: shipped[name] for name, (low, high) in sides.items() if low < high} or {
        name: shipped[name] for name in sides}


def load_photo_weights(weights: Mapping[str, str | Path], device):
    """Returns {name: Restorer}; device: as of Restorer.load. Raises UserError for weights of another task."""
    from restore.restorer import Restorer  # not at the top: torch takes seconds to import, --help needs none
    restorers = {name: Restorer.load(path, device) for name, path in weights.items()}
    for name, restorer in restorers.items():
        if restorer.recipe.depends_on_batch():  # no face may depend on those of other photos
            restorer.batch_size = 1
        if restorer.other_task:
            raise UserError(f"{name}: these weights are for the task {restorer.other_task}, not for faces in photos.")
    return restorers
