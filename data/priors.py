"""Facial priors: heatmaps and parsing maps, drawn from landmarks or cut out of masks. Pure functions.

Maps are uint8 [size, size, C]: 255 at a heatmap's peak and inside a part, 0 outside. Points are (x, y) in pixels,
pixel centres at whole numbers. Left and right are the person's own, as in CelebAMask-HQ: l_eye lies at the image's
right. Reference: Chen et al., FSRNet (CVPR 2018), and the public PyTorch code's priors.
"""
import cv2
import numpy as np

from data.face_parts import CLASSES, FACE_PARTS, MASK_PARTS, mirror_of

REFERENCE_SIZE = 64  # pixels of a map; the next two count in pixels of such a one
SIGMA, JAW_WIDTH = 3, 3
FINER = 4  # times, than its map a part is drawn, to be averaged down
SUBPIXEL_BITS = 4  # of OpenCV's fixed-point coordinates


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
