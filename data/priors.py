"""Facial priors: heatmaps and parsing maps, drawn from landmarks or cut out of masks. Pure functions.

    python -m data.priors FACES out.png --dataset_name celebamask     what the priors of a dataset look like

Maps are uint8 [size, size, C]: 255 at a heatmap's peak and inside a part, 0 outside. Points are (x, y) in pixels,
pixel centres at whole numbers. Left and right are the person's own, as in CelebAMask-HQ: l_eye lies at the image's
right. Reference: Chen et al., FSRNet (CVPR 2018), and the public PyTorch code's priors.
"""
import argparse
import colorsys
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from data.face_canvas import CLASSES
from utils.errors import run_main

REFERENCE_SIZE = 64  # pixels of a map; the next two count in pixels of such a one
SIGMA, JAW_WIDTH = 3, 3
FINER = 4  # times, than its map a part is drawn, to be averaged down
SUBPIXEL_BITS = 4  # of OpenCV's fixed-point coordinates

# The parsing maps in the public recipes' order: cut out of CelebAMask-HQ's masks, drawn from landmarks.
MASK_PARTS = ("skin", "l_brow", "r_brow", "l_eye", "r_eye", "l_ear", "r_ear", "nose", "mouth", "u_lip", "l_lip")
FACE_PARTS = ("jaw", "nose", "u_lip", "l_lip", "teeth", "l_eye", "r_eye", "l_brow", "r_brow")


def mirror_of(names):
    """int array: for each name the place of its partner, l_ for r_; the place itself where there is none (l_lip)."""
    partner = {"l_": "r_", "r_": "l_"}
    swapped = [partner.get(name[:2], name[:2]) + name[2:] for name in names]
    return np.array([names.index(other if other in names else name)
                     for name, other in zip(names, swapped, strict=True)])


MIRRORED_CLASSES = mirror_of(CLASSES)


class PointSet(NamedTuple):
    """A way to annotate faces with points.

    count: how many. mirror: int [count]; points[mirror] of a mirrored picture are again in the set's order.
    outlines: function of points [count, 2] to the outlines [n, 2] of FACE_PARTS, the jaw's open, the others closed.
    eyes: the points of the left and of the right eye.
    """
    count: int
    mirror: np.ndarray
    outlines: Callable
    eyes: tuple


def _ring(first, count, opposite):
    """Mirror places of a closed contour of `count` points from `first` on, whose first one meets number `opposite`."""
    return [first + (opposite - i) % count for i in range(count)]


def _eye_midpoint(one_eye, other_eye):
    return (one_eye.mean(0) + other_eye.mean(0)) / 2


def _outlines_68(points):
    """Of iBUG 300-W's points. Lips are what lies between their outer and inner contour, teeth the inner one.

    Brows have points along their upper edge only: the lower one is put a third of the way to the eye's centre; and
    wings are added to the nose's base, beside its outermost points. (With CelebAMask-HQ's own masks, drawn at 512
    pixels, brows so share 0.52 of their union in place of 0.06, and noses 0.67 in place of 0.47.)
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
    """Of Helen's points, as published: a lip is half of the outer contour, teeth are the whole inner one.

    Here both halves hold both corners of the mouth, where the public code leaves one out of each.
    """
    l_eye, r_eye = points[114:134], points[134:154]
    return [points[0:41], [*points[41:58], _eye_midpoint(l_eye, r_eye)], points[58:73],
            points[[*range(72, 86), 58]], points[86:114], l_eye, r_eye, points[154:174], points[174:194]]


# 0-16 jaw, 17-26 brows, 27-30 bridge and 31-35 base of the nose, 36-47 eyes, 48-59 outer and 60-67 inner lips.
POINTS_68 = PointSet(68, np.array([*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1),
                                   *_ring(42, 6, 3), *_ring(36, 6, 3), *_ring(48, 12, 6), *_ring(60, 8, 4)]),
                     _outlines_68, (slice(42, 48), slice(36, 42)))
# 0-40 jaw, 41-57 nose, 58-85 outer and 86-113 inner lips, from the corner at the image's left over the upper lip, 114
# left and 134 right eye, 154 left and 174 right brow: 20 points each, from the inner corner over the upper edge, so
# that partners have the same order. (Held against the annotation of five faces. What the public code calls the right
# eye is the image's right. That the 14th point of a lip is the other corner holds on the mean of faces only.)
POINTS_194 = PointSet(194, np.array([*range(40, -1, -1), *range(57, 40, -1), *_ring(58, 28, 14), *_ring(86, 28, 14),
                                     *range(134, 154), *range(114, 134), *range(174, 194), *range(154, 174)]),
                      _outlines_194, (slice(114, 134), slice(134, 154)))


def heatmaps(points, size):
    """A Gaussian about each of the points [L, 2], sigma 3 at 64 pixels: uint8 [size, size, L].

    Fractions are cut off, as the public code does, so that a map is 0 from 3.3 sigma on. Points outside give partial
    or black maps. A Gaussian is the product of one along x and one along y: L x 2 x size exponentials in place of
    L x size x size.
    """
    centres = np.arange(size, dtype=np.float32)[:, None]
    factor = np.float32(-0.5 / (SIGMA * size / REFERENCE_SIZE) ** 2)
    across, down = (np.exp(np.square(centres - values) * factor) for values in np.asarray(points, np.float32).T)
    maps = np.empty((size, size, len(points)), np.uint8)
    np.multiply(255 * down[:, None], across, out=maps, casting="unsafe")
    return maps


def draw_parts(points, size, point_set):
    """FACE_PARTS of points [L, 2] in order of the point set: uint8 [size, size, 9], antialiased.

    OpenCV fills a polygon's own outline, too, which would make an eye at 64 pixels twice as large. So maps are drawn
    finer and averaged, and the outline counts half.
    """
    points = move_points(np.asarray(points), (0, 0, size, size), FINER * size)
    jaw, *others = (np.rint(np.asarray(outline) * (1 << SUBPIXEL_BITS)).astype(np.int32)
                    for outline in point_set.outlines(points))
    planes = np.zeros((len(FACE_PARTS), FINER * size, FINER * size), np.uint8)
    width = max(2, round(FINER * JAW_WIDTH * size / REFERENCE_SIZE) - 2)  # OpenCV's lines are 1 to 2 pixels wider
    cv2.polylines(planes[0], [jaw], False, 255, width, cv2.LINE_8, SUBPIXEL_BITS)
    for plane, outline in zip(planes[1:], others, strict=True):
        cv2.fillPoly(plane, [outline], 255, cv2.LINE_8, SUBPIXEL_BITS)
        cv2.polylines(plane, [outline], True, 128, 1, cv2.LINE_8, SUBPIXEL_BITS)
    return np.stack([cv2.resize(plane, (size, size), interpolation=cv2.INTER_AREA) for plane in planes], axis=2)


def cut_part(mask, box, size):
    """uint8 [size, size]: the box (left, top, right, bottom; may be fractional) of a mask, uint8 [H, W].

    Each pixel is the mean of what it covers, exactly: the mask's integral is bilinear within a pixel. (The public code
    resizes by PIL BICUBIC, which rings at the edges of a mask; PIL BOX moves edges by half a pixel of the mask.)
    """
    left, top, right, bottom = box
    x, y, width, height = cv2.boundingRect(mask)  # of what is there, mostly a small part
    if not width:
        return np.zeros((size, size), np.uint8)
    sums = cv2.integral(mask[y:y + height, x:x + width], sdepth=cv2.CV_64F)
    edges, down, across = np.arange(size + 1), (bottom - top) / size, (right - left) / size
    sums = _between(sums, top - y + down * edges)
    sums = _between(sums.T, left - x + across * edges).T
    sums = sums[1:] - sums[:-1]
    return np.rint((sums[:, 1:] - sums[:, :-1]) / (down * across)).astype(np.uint8)


def _between(rows, places):
    """The rows of an array at fractional places, linear between two, the first and the last one beyond them."""
    places = np.clip(places, 0, len(rows) - 1)
    lower = np.minimum(places.astype(int), len(rows) - 2)
    share = (places - lower)[:, None]
    return rows[lower] * (1 - share) + rows[lower + 1] * share


def cut_parts(index_map, box, size):
    """MASK_PARTS of a map of indices in CLASSES, uint8 [H, W]: uint8 [size, size, 11]; absent parts are black.

    Each pixel shows one class alone: skin has holes where eyes, brows, nose and lips are, which CelebAMask-HQ's own
    files, a mask a part, do not have.
    """
    return np.stack([cut_part(cv2.compare(index_map, CLASSES.index(part), cv2.CMP_EQ), box, size)
                     for part in MASK_PARTS], axis=2)


def move_points(points, box, size):
    """Points of a picture in pixels of what shows its `box` (left, top, right, bottom) at size x size."""
    left, top, right, bottom = box
    return (points + 0.5 - (left, top)) * (size / (right - left), size / (bottom - top)) - 0.5


def mirror_points(points, size, mirror):
    """The points of the mirrored picture of `size` pixels across, in their set's order."""
    return (points * (-1, 1) + (size - 1, 0))[mirror]


def mirror_maps(maps, names):
    """The maps [H, W, C] of the mirrored picture: left for right, and l_ for r_ among their `names`."""
    return maps[:, ::-1, mirror_of(names)]


def colour_maps(maps, background):
    """uint8 RGB [H, W, 3]: each map in a hue of its own, over the dimmed background of the same size."""
    picture = background * 0.4
    for place in range(maps.shape[2]):
        colour = 255 * np.array(colorsys.hsv_to_rgb(place / maps.shape[2], 0.9, 1))
        picture += (colour - picture) * (maps[..., place, None] / 255 * 0.8)
    return np.rint(picture).astype(np.uint8)


def show(sample, heatmap_count):
    """[face, maximum of the heatmaps over it, parsing maps over it] of a dataset's sample, as far as there are."""
    face, maps = sample["hr"], sample["priors"]
    maps = maps.repeat(2, axis=0).repeat(2, axis=1)
    heat, parsing = maps[..., :heatmap_count], maps[..., heatmap_count:]
    pictures = [face]
    if heat.shape[2]:
        pictures.append(np.maximum(face // 3, heat.max(2, keepdims=True)))
    if parsing.shape[2]:
        pictures.append(colour_maps(parsing, face))
    return pictures


def main():
    from data import find_dataset
    from data.face_folder import Place
    from options.base_options import at_least
    from utils.errors import UserError
    from utils.images import grid, save_shown
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", help="folder of annotated faces")
    parser.add_argument("target", help="picture to write: in each row faces, heatmaps and parsing maps")
    parser.add_argument("--dataset_name", default="celebamask", help="how to read it, a name in data/__init__.py")
    parser.add_argument("--priors", choices=["heatmaps", "parsing", "both"], default=None)
    parser.add_argument("--augmentation", choices=["mended", "upstream", "none"], default="none")
    parser.add_argument("--load_size", type=at_least(16), default=128)
    parser.add_argument("--rows", type=at_least(1), default=4)
    parser.add_argument("--columns", type=at_least(1), default=3,
                        help="of samples; the first ones of the folder, row by row")
    a = parser.parse_args()
    kind = find_dataset(a.dataset_name)
    if not kind.takes_priors:
        raise UserError(f"--dataset_name {a.dataset_name} has no priors.")
    faces = kind(kind.list_faces(a.faces, "FACES"), load_size=a.load_size, scale_factor=8, augmentation=a.augmentation,
                 priors=a.priors)
    for line in faces.warnings:
        print(f"warning: {line}")
    names = kind.prior_names(a.priors)
    parts = [name for name in names if name in kind.parsing_names]
    samples = [faces[Place(0, i)] for i in range(min(a.rows * a.columns, len(faces)))]
    for path, what in dict.fromkeys((path, what) for s in samples for kind, path, what in s["notes"] if kind == "bad"):
        print(f"warning: bad image: {path}: {what}")
    if not all("priors" in sample for sample in samples):
        raise UserError(f"FACES: too many bad images in a row below {a.faces}.", status=1)
    shown = [show(sample, len(names) - len(parts)) for sample in samples]
    rows = [sum(shown[start:start + a.columns], []) for start in range(0, len(shown), a.columns)]
    save_shown(grid(rows), a.target)
    print(f"Look at {a.target}: {len(names) - len(parts)} heatmaps; parts: {', '.join(parts)}")


if __name__ == "__main__":
    run_main(main)
