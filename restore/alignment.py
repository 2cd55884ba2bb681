# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Lays a face by its five points onto the template that face embeddings are trained with."""
from __future__ import annotations

import cv2
import numpy as np
from skimage.transform import SimilarityTransform

# Eyes, nose tip and corners of the mouth in a 112x112 crop, the picture's left first; a 112x96 crop lacks 8 columns on
# either side.
TEMPLATE = np.array([(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655),
                     (70.7299, 92.2041)], np.float32)


def align(picture: np.ndarray, points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns the face with the five `points` [5, 2] of `picture`, laid onto the template.

    picture: uint8 [H, W, 3], RGB. The result: uint8 [*size, 3].
    """
    target = TEMPLATE - ((112 - size[1]) / 2, 0)
    matrix = SimilarityTransform.from_estimate(points, target).params[:2]
    return cv2.warpAffine(picture, matrix, (size[1], size[0]), flags=cv2.INTER_LINEAR)
