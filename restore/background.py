# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Enlarges whole photos by an RRDBNet, tile by tile."""
from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from models.rrdbnet import FACTOR, RRDBNet
from models.weights import WeightsError, match_weights, read_weights

TILE = 192  # pixels of the photo per side: memory follows from it
OVERLAP = 32  # pixels that a tile sees on every side beyond its own


class Background:
    """Enlarges photos: `background(pixels, upscale)`. Several threads may call it; one photo is enlarged at a time."""

    def __init__(self, network: RRDBNet, device: torch.device, tile: int = TILE, overlap: int = OVERLAP) -> None:
        self.network, self.device = network.to(device).requires_grad_(False).eval(), device
        self.tile, self.overlap = tile, overlap
        self._one_photo = threading.Lock()

    @classmethod
    def load(cls, path: str | Path, device: torch.device) -> Background:
        """Returns a Background with the RRDBNet of a .pth or .safetensors file.

        Raises UserError for a file that cannot be read or is of another network.
        """
        state = read_weights(path)
        try:
            network, state = RRDBNet.of_weights(state)
            network.load_state_dict(match_weights(network, state))
        except WeightsError as error:
            raise WeightsError(f"{str(path)!r}: {error}") from None
        return cls(network, device)

    @torch.no_grad()
    def __call__(self, pixels: np.ndarray, upscale: int,
                 progress: Callable[[int, int], None] | None = None) -> np.ndarray:
        """Returns the picture, [H * upscale, W * upscale, 3] of the type of `pixels`, uint8 or uint16 [H, W, 3], RGB.

        upscale: 4, or 2: 2 x 2 pixels of the network's result are averaged. progress: called after each tile with the
        numbers of tiles that are done and of all.
        """
        height, width = pixels.shape[:2]
        most = np.iinfo(pixels.dtype).max
        result = np.empty((height * upscale, width * upscale, 3), pixels.dtype)
        tiles = list(self._tiles(height, width))
        with self._one_photo:
            for number, (rows, columns, seen_rows, seen_columns) in enumerate(tiles, 1):
                seen = torch.from_numpy(pixels[seen_rows, seen_columns].astype(np.float32) / most)
                larger = self.network(seen.permute(2, 0, 1)[None].to(self.device))
                top, left = (rows.start - seen_rows.start) * FACTOR, (columns.start - seen_columns.start) * FACTOR
                larger = larger[..., top:top + (rows.stop - rows.start) * FACTOR,
                                left:left + (columns.stop - columns.start) * FACTOR]
                if upscale < FACTOR:
                    larger = functional.avg_pool2d(larger, FACTOR // upscale)
                values = larger[0].clamp_(0, 1).mul_(most).round_().permute(1, 2, 0).cpu().numpy()
                result[rows.start * upscale:rows.stop * upscale,
                       columns.start * upscale:columns.stop * upscale] = values
                if progress:
                    progress(number, len(tiles))
        return result

    def _tiles(self, height: int, width: int) -> Iterator[tuple[slice, slice, slice, slice]]:
        """Yields (rows, columns) of each tile's own pixels, then of those that it sees."""
        for top in range(0, height, self.tile):
            for left in range(0, width, self.tile):
                own = [slice(start, min(start + self.tile, end)) for start, end in ((top, height), (left, width))]
                yield (*own, *(slice(max(0, part.start - self.overlap), min(part.stop + self.overlap, end))
                               for part, end in zip(own, (height, width), strict=True)))
