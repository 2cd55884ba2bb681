# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Names of face parts, and the landmark sets that outline them.

Left and right are the person's own, as in CelebAMask-HQ: l_eye is on the right of the image.
"""
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

CLASSES = ("background", "skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear",
           "mouth", "u_lip", "l_lip", "hair", "hat", "ear_r", "neck_l", "neck", "cloth")
LABEL = {name: index for index, name in enumerate(CLASSES)}
# Parsing maps in the public recipes' order. MASK_PARTS: cut out of CelebAMask-HQ's masks; FACE_PARTS: from landmarks.
MASK_PARTS = ("skin", "l_brow", "r_brow", "l_eye", "r_eye", "l_ear", "r_ear", "nose", "mouth", "u_lip", "l_lip")
FACE_PARTS = ("jaw", "nose", "u_lip", "l_lip", "teeth", "l_eye", "r_eye", "l_brow", "r_brow")


def mirror_of(names):
    """Returns, per name, the index of its partner (l_ and r_ swapped), or its own index if it has none (l_lip)."""
    partner = {"l_": "r_", "r_": "l_"}
    swapped = [partner.get(name[:2], name[:2]) + name[2:] for name in names]
    return np.array([names.index(other if other in names else name)
                     for name, other in zip(names, swapped, strict=True)])


MIRRORED_CLASSES = mirror_of(CLASSES)


class PointSet(NamedTuple):
    """A landmark scheme.

    count: number of points. mirror: int [count]; points[mirror] of a mirrored image are in the set's order again.
    outlines: function of points [count, 2]; returns the outlines [n, 2] of FACE_PARTS. Only the jaw's is open.
    eyes: slices of the points of the left and the right eye.
    """
    count: int
    mirror: np.ndarray
    outlines: Callable
    eyes: tuple


def _ring(first, count, opposite):
    """Mirror indices of a closed contour: points first .. first + count - 1; the first one maps to first + opposite."""
    return [first + (opposite - i) % count for i in range(count)]


def _eye_midpoint(one_eye, other_eye):
    return (one_eye.mean(0) + other_eye.mean(0)) / 2


def _outlines_68(points):
    """Outlines from iBUG 300-W's points. A lip lies between the outer and the inner contour; teeth fill the inner one.

    Brows have points on their upper edge only; the lower edge is added about a third of the way to the eye's centre.
    Wings are added beside the outermost points of the nose's base. At 512 pixels this raises the IoU with
    CelebAMask-HQ's masks from 0.06 to 0.52 for brows and from 0.47 to 0.67 for noses.
    """
    l_eye, r_eye, l_brow, r_brow = points[42:48], points[36:42], points[22:27], points[17:22]
    base = points[31:36]
    wings = 2 * base[[0, -1]] - base[[1, -2]]
    nose = [_eye_midpoint(l_eye, r_eye), wings[0], *base, wings[1]]

    def band(brow, eye):
        lower = brow[3:0:-1] + 0.35 * (eye.mean(0) - brow.mean(0))
        return np.concatenate([brow, lower])
    return [points[0:17], nose, points[[*range(48, 55), *range(64, 59, -1)]],
            points[[*range(54, 60), 48, 60, *range(67, 63, -1)]], points[60:68], l_eye, r_eye,
            band(l_brow, l_eye), band(r_brow, r_eye)]


def _outlines_194(points):
    """Outlines from Helen's points, as published: a lip is half of the outer contour; teeth fill the inner contour.

    Both halves include both mouth corners; the public code omits one corner per half.
    """
    l_eye, r_eye = points[114:134], points[134:154]
    return [points[0:41], [*points[41:58], _eye_midpoint(l_eye, r_eye)], points[58:73],
            points[[*range(72, 86), 58]], points[86:114], l_eye, r_eye, points[154:174], points[174:194]]


# 0-16 jaw, 17-26 brows, 27-30 bridge and 31-35 base of the nose, 36-47 eyes, 48-59 outer and 60-67 inner lips.
POINTS_68 = PointSet(68, np.array([*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1),
                                   *_ring(42, 6, 3), *_ring(36, 6, 3), *_ring(48, 12, 6), *_ring(60, 8, 4)]),
                     _outlines_68, (slice(42, 48), slice(36, 42)))
# 0-40 jaw, 41-57 nose, 58-85 outer and 86-113 inner lips (starting at the corner on the image's left, upper lip first).
# From 114 left eye, 134 right eye, 154 left brow, 174 right brow: 20 points each, from the inner corner along the upper
# edge, so left and right have the same order. Checked on the annotation of five faces. The public code's "right eye" is
# the one on the image's right. The 14th point of a lip is the other corner only on average over faces.
POINTS_194 = PointSet(194, np.array([*range(40, -1, -1), *range(57, 40, -1), *_ring(58, 28, 14), *_ring(86, 28, 14),
                                     *range(134, 154), *range(114, 134), *range(174, 194), *range(154, 174)]),
                      _outlines_194, (slice(114, 134), slice(134, 154)))
