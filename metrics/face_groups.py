# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Groups of faces by what they are: tone of the skin, pose, and how tightly the picture is cut around the face.

A mean over all faces hides that a network serves some people worse than others; newtest.py --report scores each group.
All follow from the reference picture and its five points (restore/face_finder.py).
"""
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from skimage.color import rgb2lab

from restore.face_finder import FaceFinder, find_points

# Individual typology angle in degrees, from light to dark (Chardon et al., Int. J. of Cosmetic Science 1991). The light
# of the photo counts as well: the angle orders photos, it does not identify people.
TONES = ((55, "very light"), (41, "light"), (28, "intermediate"), (10, "tan"), (-30, "brown"), (-math.inf, "dark"))
POSES = ((0.1, "frontal"), (0.25, "half turned"), (math.inf, "turned"))  # by `turn`
CUTS = ((0.2, "wide"), (0.3, "medium"), (0.4, "close"), (math.inf, "very close"))  # eyes' distance in picture sides
CHEEK = 0.12  # half a side of the cheeks' squares, in eyes' distances
SMALLEST_CHEEK = 2  # pixels
LEAST_CHROMA = 3.0  # of the cheeks, in CIE Lab: below it the picture is black and white
GREY = "without colour"
NONE = "no face found"
STEPS = {"blur": "blur", "noise": "noise", "quality": "JPEG"}  # of a degradation's record: its name
SIZES = (12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512)  # pixels: the last size of each group


class FaceGroups:
    """Finds the groups of faces. One thread at a time."""

    def __init__(self) -> None:
        self._finder = FaceFinder()

    def __call__(self, pictures: Sequence[np.ndarray]) -> list[dict[str, str]]:
        """Returns {kind: group} for each of the pictures, uint8 [H, W, 3], RGB."""
        return [groups_of(picture, find_points(picture, self._finder)) for picture in pictures]


def groups_of(picture: np.ndarray, points: np.ndarray | None) -> dict[str, str]:
    """Returns {kind: group} of a uint8 [H, W, 3] RGB picture.

    points: float32 [5, 2], (x, y) in pixels: eyes, nose tip, corners of the mouth, the picture's left first; or None.
    """
    if points is None:
        return dict.fromkeys(("skin tone", "pose", "cut"), NONE)
    angle = typology_angle(picture, points)
    return {"skin tone": GREY if angle is None else next(name for least, name in TONES if angle > least),
            "pose": next(name for most, name in POSES if abs(turn(points)) <= most),
            "cut": next(name for most, name in CUTS if eye_distance(points) / min(picture.shape[:2]) <= most)}


def size_group(side: int) -> str:
    """Returns the group of a picture whose shorter side has so many pixels on disk."""
    if side > SIZES[-1]:
        return f"above {SIZES[-1]} pixels"
    place = next(place for place, most in enumerate(SIZES) if side <= most)
    return f"{SIZES[place - 1] + 1} to {SIZES[place]} pixels" if place else f"up to {SIZES[0]} pixels"


def fault_groups(drawn: Mapping[str, Any]) -> dict[str, str]:
    """Returns {kind: group} of what a chain drew for a face (data/face128_chain.py: record); {} without `low_size`."""
    if "low_size" not in drawn:
        return {}
    steps = [name for step, name in STEPS.items() if step in drawn]
    return {"size": size_group(drawn["low_size"]), "degradation": _together(steps)}


def _together(steps):
    return ", ".join(steps) or "none"


ORDER = {"size": [size_group(side) for side in (*SIZES, SIZES[-1] + 1)],  # of a table's lines
         "degradation": [_together(steps) for count in range(len(STEPS) + 1)
                         for steps in combinations(STEPS.values(), count)],
         "skin tone": [*(name for _, name in TONES), GREY, NONE],
         "pose": [*(name for _, name in POSES), NONE],
         "cut": [*(name for _, name in CUTS), NONE]}


def eye_distance(points: np.ndarray) -> float:
    """Returns the distance of the eyes in pixels, at least 1."""
    return max(1.0, float(np.linalg.norm(points[1] - points[0])))


def turn(points: np.ndarray) -> float:
    """Returns how far the nose tip lies beside the middle of the eyes, along their line, in eyes' distances.

    0: seen from the front; about 0.5: the nose tip lies below an eye.
    """
    line = (points[1] - points[0]) / eye_distance(points)
    return float((points[2] - points[:2].mean(0)) @ line / eye_distance(points))


def typology_angle(picture: np.ndarray, points: np.ndarray) -> float | None:
    """Returns the individual typology angle of the cheeks in degrees: atan((L* - 50) / b*), CIE Lab, D65.

    None for a black and white picture. The cheeks are squares halfway between an eye and the corner of the mouth on its
    side. Medians leave out hair and highlights.
    """
    half = max(SMALLEST_CHEEK, CHEEK * eye_distance(points))
    squares = []
    for eye, mouth in ((0, 3), (1, 4)):
        x, y = (points[eye] + points[mouth]) / 2
        squares.append(_square(picture, x, y, half).reshape(-1, 3))
    lightness, red, yellow = np.median(rgb2lab(np.concatenate(squares) / 255.0), axis=0)
    return None if math.hypot(red, yellow) < LEAST_CHROMA else math.degrees(math.atan2(lightness - 50, yellow))


def _square(picture, x, y, half):
    """Returns the pixels within `half` of (x, y); the nearest pixel of the picture if that lies outside."""
    height, width = picture.shape[:2]
    left, right = (int(np.clip(round(x + side), 0, width - 1)) for side in (-half, half))
    top, bottom = (int(np.clip(round(y + side), 0, height - 1)) for side in (-half, half))
    return picture[top:bottom + 1, left:right + 1]
