"""Random holes in a face, strokes and boxes: what GPEN's inpainting fills in."""
import math

import cv2
import numpy as np

# What is drawn, in shares of the picture's side. Strokes are as in GPEN's published code (which draws at 1024 pixels);
# boxes are added, as whole parts of a face may be gone.
KINDS = {"strokes": 0.5, "boxes": 0.25, "both": 0.25}
STROKES, VERTICES, WIDTH = (1, 3), (8, 27), (12 / 1024, 80 / 1024)
TURN, TURN_SPREAD = 2 * math.pi / 5, 2 * math.pi / 15
STEP = math.sqrt(2) / 8  # mean length from vertex to vertex; the deviation is half of it, the longest is twice
BOXES, BOX_SIDE = (1, 3), (1 / 8, 3 / 8)
HOLE = 255  # white
SUBPIXEL_BITS = 4  # of OpenCV's fixed-point coordinates


def random_stroke(rng):
    """(vertices float64 [N, 2], width) of a zigzag in the unit square, as a hand leaves that scribbles over a picture.

    It has a heading of its own and is mirrored at the edges. (The published one always runs to the right, until it
    meets the edge, and then along it.)
    """
    count, heading = int(rng.integers(*VERTICES, endpoint=True)), rng.uniform(0, 2 * math.pi)
    turns = rng.uniform(TURN - rng.uniform(0, TURN_SPREAD), TURN + rng.uniform(0, TURN_SPREAD), count)
    angles = heading + turns * (-1) ** np.arange(count)
    lengths = np.clip(rng.normal(STEP, STEP / 2, count), 0, 2 * STEP)
    steps = lengths[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    points = rng.uniform(0, 1, 2) + np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
    return 1 - np.abs(1 - points % 2), float(rng.uniform(*WIDTH))


def random_box(rng):
    """float64 [2, 2]: upper left and lower right corner of a box within the unit square."""
    sides = rng.uniform(*BOX_SIDE, 2)
    corner = rng.uniform(0, 1 - sides)
    return np.array([corner, corner + sides])


def random_holes(size, rng):
    """bool [size, size], True where a face loses its pixels; the same numbers make the same holes at every size."""
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
