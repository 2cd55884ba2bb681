# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Validation: restores the validation faces with the networks as they are, and averages their scores."""
from __future__ import annotations

import contextlib
from argparse import Namespace
from collections.abc import Callable
from typing import Any

import torch

from data.loader import BadImages, InOrder, make_loader
from engine.evaluate import average, restore_all, score_faces
from engine.stopping import Stopping
from models.base_model import BaseModel
from restore.restorer import Restorer
from utils import distributed


class Validation:
    """The validation of a training. faces: the dataset. warn: function of a line of text about a bad image."""

    def __init__(self, options: Namespace, faces: Any, recipe: BaseModel, device: torch.device,
                 warn: Callable[[str], None]) -> None:
        self.options, self.faces, self.recipe, self.device, self.warn = options, faces, recipe, device, warn

    def run(self, stopping: Stopping, wish_to_stop: Callable[[], bool]) -> dict[str, Any] | None:
        """Returns the record of a validation, without its step; None if a signal or a failure ended it.

        wish_to_stop: asks all ranks, after each batch, whether to stop; a time limit lets the validation finish.
        """
        o = self.options
        bad = BadImages(len(self.faces), o.on_bad_image, self.warn)
        mine, longest = (InOrder(len(self.faces), o.val_batch_size, rank, distributed.world_size())
                         for rank in (distributed.rank(), 0))
        loader = make_loader(self.faces, mine, o.workers, data_timeout=o.data_timeout)
        rows = []
        with contextlib.closing(restore_all(Restorer(self.recipe, self.device), loader)) as batches:
            for _ in range(len(longest)):  # also a rank with fewer batches takes part in each decision
                rows += stopping.attempt(lambda: self._score_next(batches, bad)) or []
                if wish_to_stop() and stopping.urgent:
                    return None
        rows = [row for part in distributed.gather(rows) for row in part]
        (psnr, ssim), (low, low_ssim) = (average(rows, o.val_protocol, which) for which in ("restored", "input"))
        return {"psnr": psnr, "ssim": ssim, "input_psnr": low, "input_ssim": low_ssim, "faces": len(rows),
                "protocol": o.val_protocol}

    def _score_next(self, batches, bad):
        faces = next(batches, None)
        if faces is None:
            return []
        bad.check(faces.batch)
        return score_faces(faces, [self.options.val_protocol])
