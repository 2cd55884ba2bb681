# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Degradations by name (--degradation): they make lr from a clean face. All randomness comes from `rng` (numpy)."""
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from data.degradations import FACE_SIZE, degrade_ffhq, degrade_gpen, degrade_hard, grey
from data.face128_chain import SMALLEST, SMALLEST_256, degrade_face128
from data.holes import HOLE, random_holes
from utils.images import degrade, resize


def bicubic(image, side, box=None):
    """Resizes a square image (PIL or uint8 HWC array), or a square box of a PIL image, to uint8 HWC by PIL BICUBIC."""
    if isinstance(image, np.ndarray):
        if len(image) == side:
            return image
        image = Image.fromarray(image)
    return np.asarray(resize(image, side, box))


def area(image, side, box=None):
    """Resizes like bicubic, but shrinks by OpenCV's INTER_AREA: each pixel is the mean of the pixels that it covers."""
    square = np.asarray(image.crop(box) if box else image)
    if len(square) <= side:  # INTER_AREA would enlarge in blocks
        return bicubic(square, side)
    return cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA)


class Degradation(NamedTuple):
    """One way to make a pair from a clean face.

    make: function of (face, rng, load_size, scale_factor); returns (hr, lr, drawn): both pictures uint8 [load_size,
    load_size, 3], RGB; drawn: {name: value} of the random steps (data/face128_chain.py: record). The face is uint8
    [S, S, 3], RGB; S is load_size, at least smallest_face.
    to_side: function that resizes square images to the face's size before `make`: bicubic or area.
    smallest_face: smallest side of the face in pixels, for chains whose ranges are in pixels of a larger face.
    reads_scale_factor: whether `make` uses scale_factor.
    smallest_input: sides in pixels to which `make` reduces faces, at least; 0: not known.
    input_dataset: name of the dataset that reads such inputs from a folder (newtest.py's --dataroot) instead of
    generating them.
    input_title: name of the input in logs, scores and image grids.
    """
    make: Callable
    to_side: Callable = bicubic
    smallest_face: int = 0
    reads_scale_factor: bool = False
    smallest_input: int = 0
    input_dataset: str = "single"
    input_title: str = "input"


def bicubic_pair(face, rng, load_size, scale_factor):
    """lr: the face reduced by scale_factor and enlarged again, PIL BICUBIC in uint8, as in x8 face benchmarks."""
    return face, np.asarray(degrade(Image.fromarray(face), scale_factor)), {}


def sparnethd_pair(face, rng, load_size, scale_factor):
    """lr: SPARNetHD's published chain. It runs at 512 pixels for every load_size; PIL BICUBIC then resizes both."""
    hr, lr, drawn = degrade_ffhq(bicubic(face, FACE_SIZE), rng)
    if load_size > FACE_SIZE:  # a target that went through 512 pixels would lack detail
        hr = grey(face) if drawn.get("grey") else face
    return bicubic(hr, load_size), bicubic(lr, load_size), drawn


def gpen_pair(face, rng, load_size, scale_factor):
    """lr: GPEN's published chain. It runs at load_size, at least 512 pixels; INTER_AREA then resizes both."""
    return _by_chain(degrade_gpen, face, rng, load_size)


def gpen_hard_pair(face, rng, load_size, scale_factor):
    """lr: a harder chain of two passes; otherwise like gpen_pair."""
    return _by_chain(degrade_hard, face, rng, load_size)


def _by_chain(chain, face, rng, load_size):
    hr, lr, drawn = chain(face, rng)
    return area(hr, load_size), area(lr, load_size), drawn


def face128_pair(face, rng, load_size, scale_factor):
    """lr: a chain for faces of 128 pixels, applied at load_size: low resolution, noise, blur, JPEG, or clean."""
    return degrade_face128(face, rng)


def face256_pair(face, rng, load_size, scale_factor):
    """lr: the same chain, without the smallest faces."""
    return degrade_face128(face, rng, SMALLEST_256)


def grey_pair(face, rng, load_size, scale_factor):
    """lr: the face in grey (ITU-R 601 luma), three equal channels, for GPEN's colourization."""
    return face, grey(face), {}


def holes_pair(face, rng, load_size, scale_factor):
    """lr: the face with white holes, for GPEN's inpainting."""
    lr = face.copy()
    lr[random_holes(load_size, rng)] = HOLE
    return face, lr, {}


DEGRADATION_BY_NAME = {
    "bicubic": Degradation(bicubic_pair, reads_scale_factor=True, input_title="bicubic"),
    "sparnethd": Degradation(sparnethd_pair, smallest_face=FACE_SIZE),
    "gpen": Degradation(gpen_pair, area, FACE_SIZE),
    "gpen_hard": Degradation(gpen_hard_pair, area, FACE_SIZE),
    "face128": Degradation(face128_pair, smallest_input=SMALLEST),
    "face256": Degradation(face256_pair, smallest_input=SMALLEST_256),
    "grey": Degradation(grey_pair, area, input_dataset="grey_inputs"),
    "holes": Degradation(holes_pair, area),
}
