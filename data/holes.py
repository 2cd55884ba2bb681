# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Random holes in a face, strokes and boxes, for GPEN's inpainting."""
import math

import cv2
import numpy as np

# KINDS holds probabilities. Lengths are fractions of the image's side. Strokes follow GPEN's published code, which
# draws at 1024 pixels. Boxes are this project's addition: in practice whole parts of a face may be missing.
KINDS = {"strokes": 0.5, "boxes": 0.25, "both": 0.25}
STROKES, VERTICES, WIDTH = (1, 3), (8, 27), (12 / 1024, 80 / 1024)
TURN, TURN_SPREAD = 2 * math.pi / 5, 2 * math.pi / 15
STEP = math.sqrt(2) / 8  # mean length of a segment; its standard deviation is half of this, its maximum twice
BOXES, BOX_SIDE = (1, 3), (1 / 8, 3 / 8)
HOLE = 255  # white
SUBPIXEL_BITS = 4  # fractional bits of OpenCV's fixed-point coordinates


def random_stroke(rng):
    """Returns (vertices float64 [N, 2], width) of a zigzag in the unit square, like a hand-drawn scribble.

    The zigzag's heading is random, and it is reflected at the edges. (The published code always draws to the right, and
    continues along an edge once it reaches one.)
    """
    count, heading = int(rng.integers(*VERTICES, endpoint=True)), rng.uniform(0, 2 * math.pi)
    turns = rng.uniform(TURN - rng.uniform(0, TURN_SPREAD), TURN + rng.uniform(0, TURN_SPREAD), count)
    angles = heading + turns * (-1) ** np.arange(count)
    lengths = np.clip(rng.normal(STEP, STEP / 2, count), 0, 2 * STEP)
    steps = lengths[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    points = rng.uniform(0, 1, 2) + np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
    return 1 - np.abs(1 - points % 2), float(rng.uniform(*WIDTH))


def random_box(rng):
    """Returns float64 [2, 2]: upper left and lower right corner of a box within the unit square."""
    sides = rng.uniform(*BOX_SIDE, 2)
    corner = rng.uniform(0, 1 - sides)
    return np.array([corner, corner + sides])


def random_holes(size, rng):
    """Returns bool [size, size], True inside the holes; the same `rng` state gives the same holes at every size."""
    holes = np.zeros((size, size), np.uint8)
    kind = rng.choice(list(KINDS), p=list(KINDS.values()))
    if kind != "boxes":
        for _ in range(rng.integers(*STROKES, endpoint=True)):
            points, width = random_stroke(rng)
            line = np.rint((points * size - 0.5) * (1 << SUBPIXEL_BITS)).astype(np.int32)
            cv2.polylines(holes, [line], False, 1, max(1, round(width * size)), cv2.LINE_8, SUBPIXEL_BITS)
    if kind != "strokes":
        for _ in range(rng.integers(*BOXES, endpoint=True)):
            (left, top), (right, bottom) = np.rint(random_box(rng) * size).astype(int)
            holes[top:bottom, left:right] = 1
    return holes.astype(bool)
