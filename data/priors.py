# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Facial priors: heatmaps and parsing maps, drawn from landmarks or cut out of masks. Pure functions.

Maps are uint8 [size, size, C]: 255 at a heatmap's peak and inside a part, 0 outside. Points are (x, y) in pixels,
pixel centres at whole numbers. Left and right are the person's own, as in CelebAMask-HQ: l_eye lies at the image's
right. Reference: Chen et al., FSRNet (CVPR 2018), and the public PyTorch code's priors.
"""
import cv2
import numpy as np

from data.face_parts import CLASSES, FACE_PARTS, MASK_PARTS, mirror_of

REFERENCE_SIZE = 64  # side in pixels of the map to which SIGMA and JAW_WIDTH refer
SIGMA, JAW_WIDTH = 3, 3
SUPERSAMPLING = 4  # factor when rasterising a part
SUBPIXEL_BITS = 4  # of OpenCV's fixed-point coordinates


def heatmaps(points, size):
    """Returns a Gaussian at each of the points [L, 2], sigma 3 at 64 pixels, as uint8 [size, size, L].

    Values are truncated, as in the public code, so a map is 0 beyond 3.3 sigma. Points outside the map give partial
    or black maps. Each Gaussian is computed as a product of two 1-d Gaussians, which needs fewer exponentials.
    """
    centres = np.arange(size, dtype=np.float32)[:, None]
    factor = np.float32(-0.5 / (SIGMA * size / REFERENCE_SIZE) ** 2)
    across, down = (np.exp(np.square(centres - values) * factor) for values in np.asarray(points, np.float32).T)
    maps = np.empty((size, size, len(points)), np.uint8)
    np.multiply(255 * down[:, None], across, out=maps, casting="unsafe")
    return maps


def draw_parts(points, size, point_set):
    """Returns FACE_PARTS, antialiased uint8 [size, size, 9], drawn from points [L, 2] in the point set's order.

    OpenCV's fill includes the polygon's outline, which would double the area of an eye at 64 pixels. Maps are
    therefore supersampled, and the outline is drawn at half intensity.
    """
    points = move_points(np.asarray(points), (0, 0, size, size), SUPERSAMPLING * size)
    jaw, *others = (np.rint(np.asarray(outline) * (1 << SUBPIXEL_BITS)).astype(np.int32)
                    for outline in point_set.outlines(points))
    planes = np.zeros((len(FACE_PARTS), SUPERSAMPLING * size, SUPERSAMPLING * size), np.uint8)
    # OpenCV draws lines 1 to 2 pixels wider than asked.
    width = max(2, round(SUPERSAMPLING * JAW_WIDTH * size / REFERENCE_SIZE) - 2)
    cv2.polylines(planes[0], [jaw], False, 255, width, cv2.LINE_8, SUBPIXEL_BITS)
    for plane, outline in zip(planes[1:], others, strict=True):
        cv2.fillPoly(plane, [outline], 255, cv2.LINE_8, SUBPIXEL_BITS)
        cv2.polylines(plane, [outline], True, 128, 1, cv2.LINE_8, SUBPIXEL_BITS)
    return np.stack([cv2.resize(plane, (size, size), interpolation=cv2.INTER_AREA) for plane in planes], axis=2)


def cut_part(mask, box, size):
    """Returns a box (left, top, right, bottom; may be fractional) of a mask uint8 [H, W] as uint8 [size, size].

    Each pixel is the exact mean of the area that it covers, computed from the mask's integral, which is bilinear
    within a pixel. The public code uses PIL BICUBIC, which rings at a mask's edges; PIL BOX shifts edges by half a
    pixel of the mask.
    """
    left, top, right, bottom = box
    x, y, width, height = cv2.boundingRect(mask)  # only the part's bounding box is processed: it is usually small
    if not width:
        return np.zeros((size, size), np.uint8)
    sums = cv2.integral(mask[y:y + height, x:x + width], sdepth=cv2.CV_64F)
    edges, down, across = np.arange(size + 1), (bottom - top) / size, (right - left) / size
    sums = _interpolate_rows(sums, top - y + down * edges)
    sums = _interpolate_rows(sums.T, left - x + across * edges).T
    sums = sums[1:] - sums[:-1]
    return np.rint((sums[:, 1:] - sums[:, :-1]) / (down * across)).astype(np.uint8)


def _interpolate_rows(rows, positions):
    """Returns the rows of an array at fractional positions, linearly interpolated; positions outside are clamped."""
    positions = np.clip(positions, 0, len(rows) - 1)
    lower = np.minimum(positions.astype(int), len(rows) - 2)
    fraction = (positions - lower)[:, None]
    return rows[lower] * (1 - fraction) + rows[lower + 1] * fraction


def cut_parts(index_map, box, size):
    """Returns MASK_PARTS, uint8 [size, size, 11], of an index map uint8 [H, W] of CLASSES; absent parts are black.

    Each pixel has exactly one class, so skin has holes at the eyes, brows, nose and lips. CelebAMask-HQ's own files
    (one mask per part) have no such holes.
    """
    return np.stack([cut_part(cv2.compare(index_map, CLASSES.index(part), cv2.CMP_EQ), box, size)
                     for part in MASK_PARTS], axis=2)


def move_points(points, box, size):
    """Maps points of an image to pixels of its `box` (left, top, right, bottom) resized to size x size."""
    left, top, right, bottom = box
    return (points + 0.5 - (left, top)) * (size / (right - left), size / (bottom - top)) - 0.5


def mirror_points(points, size, mirror):
    """Returns the points of the mirrored image, `size` pixels wide; mirror: PointSet.mirror."""
    return (points * (-1, 1) + (size - 1, 0))[mirror]


def mirror_maps(maps, names):
    """Returns the maps [H, W, C] of the mirrored image: flipped, with the l_ and r_ maps in `names` swapped."""
    return maps[:, ::-1, mirror_of(names)]
