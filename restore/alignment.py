# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Lays faces by their five points onto templates: of face embeddings, and of restoring networks."""
from __future__ import annotations

import math

import cv2
import numpy as np
from skimage.transform import estimate_transform

# Eyes, nose tip and corners of the mouth in a 112x112 crop, the picture's left first; a 112x96 crop lacks 8 columns on
# either side.
TEMPLATE = np.array([(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655),
                     (70.7299, 92.2041)], np.float32)


def align(picture: np.ndarray, points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns the face with the five `points` [5, 2] of `picture`, laid onto the template.

    picture: uint8 [H, W, 3], RGB. The result: uint8 [*size, 3].
    """
    target = TEMPLATE - ((112 - size[1]) / 2, 0)
    matrix = estimate_transform("similarity", points, target).params[:2]
    return cv2.warpAffine(picture, matrix, (size[1], size[0]), flags=cv2.INTER_LINEAR)


# Where the same points lie in the faces that networks are trained on, in fractions of the side. celeba: measured on the
# centred squares of CelebA's aligned images; ffhq: FFHQ's usual template at 512 pixels.
FACE_TEMPLATES = {
    "celeba": np.array([(.39317, .54588), (.60849, .54382), (.50011, .67243), (.40997, .77126), (.5956, .76939)]),
    "ffhq": (np.array([(192.98138, 239.94708), (318.90277, 240.1936), (256.63416, 314.01935), (201.26117, 371.41043),
                       (313.08905, 371.15118)]) + 0.5) / 512}


def crop_matrix(points: np.ndarray, alignment: str, size: int) -> np.ndarray | None:
    """Returns the similarity from the picture's pixels to a crop of size x size, float64 [2, 3]; None if there is none.

    points: [5, 2], (x, y); pixel centres are whole numbers. alignment: a name in FACE_TEMPLATES.
    """
    found = estimate_transform("similarity", points, FACE_TEMPLATES[alignment] * size - 0.5)
    matrix = found.params[:2] if found else np.full((2, 3), np.nan)  # scikit-image 0.25 gives nan instead
    return matrix if np.isfinite(matrix).all() and crop_scale(matrix) > 0 else None


def crop_scale(matrix: np.ndarray) -> float:
    """Returns how many pixels of the crop one pixel of the picture becomes."""
    return math.sqrt(abs(np.linalg.det(matrix[:, :2])))


def cut_face(picture: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """Returns the crop, uint8 [size, size, 3]; picture: uint8 [H, W, 3]; matrix: of crop_matrix.

    Where it shrinks, it is sampled finer and averaged: OpenCV's warp does not antialias. Outside of the picture its
    border pixels go on.
    """
    finer = max(1, math.ceil(1 / crop_scale(matrix)))
    crop = cv2.warpAffine(picture, finer_grid(finer) @ np.vstack([matrix, (0, 0, 1)]), (size * finer, size * finer),
                          flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA) if finer > 1 else crop


def finer_grid(factor: float) -> np.ndarray:
    """Returns the map of pixel positions to those of a picture with `factor` times as many pixels per side, [2, 3]."""
    return np.array([(factor, 0, (factor - 1) / 2), (0, factor, (factor - 1) / 2)], np.float64)
