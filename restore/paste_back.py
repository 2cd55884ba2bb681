# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Puts restored faces back into their photo; what lies outside of them stays as it is, pixel for pixel."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from restore.alignment import crop_scale, finer_grid
from restore.bit_depth import STEP, enlarged
from restore.photo_choices import PASTES

FEATHER = 0.15  # width of the transition at the crop's edges, in sides of the crop


class RestoredCrop(NamedTuple):
    """matrix: from the photo's pixels to the crop's (restore/alignment.py). aligned, restored: uint8 [S, S, 3]."""
    matrix: np.ndarray
    aligned: np.ndarray
    restored: np.ndarray


class _Patch(NamedTuple):
    """What changes in the rectangle that begins at (left, top): float32 [h, w, 3], and its weights [h, w, 1] 0 to 1."""
    left: int
    top: int
    change: np.ndarray
    weight: np.ndarray


def paste_back(photo: np.ndarray, crops: Sequence[RestoredCrop], upscale: int = 1, mode: str = "delta",
               fidelity: float = 0.0, background: np.ndarray | None = None) -> np.ndarray:
    """Returns the photo, RGB [H * upscale, W * upscale, 3], with the restored faces in it.

    photo: uint8 or uint16 [H, W, 3]; the result has the same type. Beside the faces it is enlarged by PIL BICUBIC, or
    unchanged with upscale 1.
    mode: delta adds the difference restored - aligned, which keeps the photo's own detail and noise: a face that the
    network does not change leaves the photo as it is. crop replaces the face. fidelity: 0 takes the restored face, 1
    the photo's own, between them a blend. Where faces overlap, their changes are averaged.
    background: the photo enlarged in another way, of the result's type and size; it is changed. Faces are then those
    of the enlargement by PIL BICUBIC, with what the network changed: a difference on top of a sharpened face would
    sharpen it twice.
    """
    if mode not in PASTES:
        raise ValueError(f"mode must be one of {', '.join(PASTES)}, not {mode!r}.")
    height, width = photo.shape[:2]
    if background is not None:
        result = background
    else:
        result = photo.copy() if upscale == 1 else enlarged(photo, (width * upscale, height * upscale))
    plain = None if background is None else photo
    patches = [_patch(result, crop, upscale, mode, fidelity, plain) for crop in crops]
    for group in _overlapping([patch for patch in patches if patch is not None]):
        _add(result, group)
    return result


def _patch(background, crop, upscale, mode, fidelity, plain=None):
    """Returns the _Patch of one face on the enlarged photo, None if it lies outside of it.

    plain: the photo, where the enlarged one is not that by PIL BICUBIC.
    """
    size = crop.aligned.shape[0]
    inverse = cv2.invertAffineTransform(crop.matrix)
    inverse = finer_grid(upscale) @ np.vstack([inverse, (0, 0, 1)])  # from the crop to the enlarged photo
    corners = inverse @ np.array([(x, y, 1) for x in (-0.5, size - 0.5) for y in (-0.5, size - 0.5)]).T
    left, top = (max(0, math.floor(value)) for value in corners.min(1))
    right, bottom = (min(limit, math.ceil(value) + 1) for value, limit in
                     zip(corners.max(1), background.shape[1::-1], strict=True))
    if left >= right or top >= bottom:
        return None
    finer = max(1, math.ceil(crop_scale(crop.matrix) / upscale))  # the crop may be finer than the photo: antialias
    back = finer_grid(finer) @ np.vstack([inverse - [(0, 0, left), (0, 0, top)], (0, 0, 1)])

    def warp(image, flags, border):
        area = ((right - left) * finer, (bottom - top) * finer)
        warped = cv2.warpAffine(image, back, area, flags=flags, borderMode=border)
        return cv2.resize(warped, (right - left, bottom - top), interpolation=cv2.INTER_AREA) if finer > 1 else warped

    weight = warp(_feathered(size), cv2.INTER_LINEAR, cv2.BORDER_CONSTANT)[..., None]
    step = STEP if background.dtype == np.uint16 else 1
    restored, aligned = (image.astype(np.float32) * step for image in (crop.restored, crop.aligned))
    own = background[top:bottom, left:right]
    if mode == "crop":
        change = warp(restored, cv2.INTER_CUBIC, cv2.BORDER_REPLICATE) - own
    else:
        change = warp(restored - aligned, cv2.INTER_CUBIC, cv2.BORDER_REPLICATE)
        if plain is not None:
            box = [value / upscale for value in (left, top, right, bottom)]
            change += enlarged(plain, (right - left, bottom - top), box).astype(np.float32) - own
    return _Patch(left, top, change * np.float32(1 - fidelity), weight)


def _feathered(size):
    """Returns the weights of a crop, float32 [size, size]: 1 inside, falling smoothly to 0 at its edges."""
    distance = np.minimum(np.arange(size), np.arange(size)[::-1]) / max(1, FEATHER * size)
    ramp = np.clip(distance, 0, 1)
    ramp = ramp * ramp * (3 - 2 * ramp)
    return np.outer(ramp, ramp).astype(np.float32)


def _overlapping(patches):
    """Returns lists of patches whose rectangles overlap, directly or through others."""
    groups = []
    for patch in patches:
        joined = [group for group in groups if any(_overlap(patch, other) for other in group)]
        groups = [group for group in groups if not any(group is other for other in joined)]
        groups.append([patch, *(other for group in joined for other in group)])
    return groups


def _overlap(a, b):
    return all(start < other + other_length and other < start + length for start, length, other, other_length in (
        (a.left, a.change.shape[1], b.left, b.change.shape[1]), (a.top, a.change.shape[0], b.top, b.change.shape[0])))


def _add(result, group):
    """Adds the weighted changes of overlapping patches to `result`, rounded once."""
    left, top = min(p.left for p in group), min(p.top for p in group)
    right = max(p.left + p.change.shape[1] for p in group)
    bottom = max(p.top + p.change.shape[0] for p in group)
    change = np.zeros((bottom - top, right - left, 3), np.float32)
    weight = np.zeros((bottom - top, right - left, 1), np.float32)
    for patch in group:
        rows = slice(patch.top - top, patch.top - top + patch.change.shape[0])
        columns = slice(patch.left - left, patch.left - left + patch.change.shape[1])
        change[rows, columns] += patch.weight * patch.change
        weight[rows, columns] += patch.weight
    part = result[top:bottom, left:right]
    most = np.iinfo(part.dtype).max
    part[:] = np.clip(np.rint(part + change / np.maximum(1, weight)), 0, most).astype(part.dtype)
