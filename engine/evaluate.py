# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Restore the faces of a loader and score them under named protocols; used by validation and newtest.py."""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from metrics.protocols import Protocol, protocol_named
from metrics.psnr_ssim import Score, compare, mean_score, to_uint8
from restore.restorer import Restorer
from utils.images import to_tensor_range


@dataclass(frozen=True)
class RestoredFaces:
    """The restored faces of a batch. Faces that stand in for damaged files are restored too, but are not among these.

    indices     places of the faces in their dataset
    inputs      uint8 [N, S, S, 3], RGB: what was given to be restored, also where the network got a smaller copy
    restored    float32 [N, 3, S, S] on the CPU, RGB about [-1, 1]
    estimated   float32 [N, C, S / 2, S / 2] on the CPU, about [-1, 1]: prior maps that the recipe estimates, or None
    references  uint8 [N, S, S, 3], RGB: what the faces should look like, or None
    priors      uint8 [N, S / 2, S / 2, C]: the dataset's prior maps, or None
    batch       the whole batch as the loader gave it, with its notes on damaged files
    """
    indices: list[int]
    inputs: np.ndarray
    restored: torch.Tensor
    estimated: torch.Tensor | None
    references: np.ndarray | None
    priors: np.ndarray | None
    batch: Mapping[str, Any]


def to_device(batch: Mapping[str, Any], device: torch.device) -> dict[str, torch.Tensor]:
    """Returns {name: float32 NCHW, RGB, in [-1, 1] on `device`} of a loader's batch; the bytes travel as uint8."""
    return {name: to_tensor_range(value.to(device, non_blocking=True))
            for name, value in batch.items() if torch.is_tensor(value)}


def restore_all(restorer: Restorer, loader: Iterable[Mapping[str, Any]]) -> Iterator[RestoredFaces]:
    """Yields the RestoredFaces of every batch of `loader`.

    The networks restore in eval mode and are put back into the mode that they were in.
    """
    with restorer.recipe.evaluating():
        for batch in loader:
            if batch["index"]:
                yield _without_replaced(batch, *restorer.restore_batch(batch["lr"]))
            else:  # every file of it was damaged
                yield RestoredFaces([], np.empty(0, np.uint8), torch.empty(0), None, None, None, batch)


def _without_replaced(batch: Mapping[str, Any], restored: torch.Tensor,
                      estimated: torch.Tensor | None) -> RestoredFaces:
    kept = [place for place, replaced in enumerate(batch["replaced"]) if not replaced]

    def of(name):
        return np.asarray(batch[name])[kept] if name in batch else None
    inputs = of("given" if "given" in batch else "lr")
    return RestoredFaces([batch["index"][place] for place in kept], inputs, restored[kept],
                         None if estimated is None else estimated[kept], of("hr"), of("priors"), batch)


def score_faces(faces: RestoredFaces, protocols: Iterable[str | Protocol]) -> list[dict[str, dict[str, Score]]]:
    """Returns [{name of a protocol: {'input': Score, 'restored': Score}}], one per face; the faces have references."""
    named = [protocol_named(p) for p in protocols]
    restored = {p.rounding: to_uint8(faces.restored, p) for p in named}
    return [{p.name: {"input": compare(faces.inputs[place], reference, p),
                      "restored": compare(restored[p.rounding][place], reference, p)} for p in named}
            for place, reference in enumerate(faces.references)]


def average(rows: Sequence[Mapping[str, Mapping[str, Score]]], protocol: str, which: str) -> Score:
    """Returns the means over score_faces' rows; which: 'input' or 'restored'. See metrics/psnr_ssim.py: mean_score."""
    return mean_score([row[protocol][which] for row in rows])


def input_psnr(record: Mapping[str, Any]) -> float | None:
    """Returns the input's PSNR of a validation's record in metrics.jsonl, also of an older one, which says bicubic."""
    return record["input_psnr"] if "input_psnr" in record else record["bicubic_psnr"]
