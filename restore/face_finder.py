# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Finds the surest face of an image and its five points, by YuNet (pretrained/yunet)."""
from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from utils.pretrained import FOLDER

DETECTOR = FOLDER / "yunet" / "yunet_n_dynamic.onnx"
SMALLEST_SIDE = 256  # smaller pictures are enlarged for the detector
CONFIDENCE = 0.6


def find_points(picture: np.ndarray, detector: cv2.FaceDetectorYN | None = None) -> np.ndarray | None:
    """float32 [5, 2], (x, y) in pixels: eyes, nose tip, corners of the mouth, of the surest face; None without a face.

    picture: uint8 HWC RGB.
    """
    height, width = picture.shape[:2]
    scale = max(1.0, SMALLEST_SIDE / min(height, width))
    if scale > 1:
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    detector = detector or make_detector()
    detector.setInputSize((picture.shape[1], picture.shape[0]))
    _, found = detector.detect(np.ascontiguousarray(picture[..., ::-1]))  # it wants BGR
    if found is None:
        return None
    surest = max(found, key=lambda face: face[-1])
    return (surest[4:14].reshape(5, 2) + 0.5) / scale - 0.5


def make_detector() -> cv2.FaceDetectorYN:
    """Returns a YuNet of its own; one detector is not to be used by two threads at a time."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)  # OpenCV 5 warns of a target nobody asked for
    try:
        return cv2.FaceDetectorYN.create(str(DETECTOR), "", (SMALLEST_SIDE, SMALLEST_SIDE), CONFIDENCE)
    finally:
        cv2.utils.logging.setLogLevel(level)


class Face(NamedTuple):
    """points: float32 [5, 2]. score: YuNet's, 0 to 1."""
    points: np.ndarray
    score: float


class FaceFinder:
    def __init__(self):
        self._detector = make_detector()

    def __call__(self, picture):
        height, width = picture.shape[:2]
        self._detector.setInputSize((width, height))
        _, found = self._detector.detect(np.ascontiguousarray(picture[..., ::-1]))
        return [Face(face[4:14].reshape(5, 2), float(face[-1])) for face in (() if found is None else found)]
