"""A random similarity transform of a face before it is cut: for networks that meet other crops than their own."""
import math

import cv2
import numpy as np
from PIL import Image

from utils.images import centre_square, resize

# Of the centred square's side: 12 pixels of CelebA's 178. Aligners, detectors and people cut faces so differently.
SHIFT = 12 / 178
SCALE = (0.8, 1.25)
ANGLE = 10.0  # degrees, to either side
FINEST = 2  # source pixels a target pixel; finer pictures are first reduced by a whole number


def cut(image, size, shift=(0.0, 0.0), scale=1.0, angle=0.0):
    """A square of the RGB PIL `image`, size x size, RGB: its centred square, moved, turned and enlarged.

    shift: how far the cut lies to the right of the centre and below it, in sides of the centred square. scale: above
    1 the face comes out larger. angle: degrees that the face turns clockwise. Beyond the picture its mirror image is
    seen.

    The picture is sampled once, on a turned grid as fine as its own, and this is taken to `size` as a plain crop is
    (PIL BICUBIC, antialiased). Without a transform, a square picture that is not reduced before comes out as its plain
    crop does, bit for bit.
    """
    left, top, right, bottom = centre_square(image.size)
    side = (right - left) / scale
    factor = max(1, int(side / (FINEST * size)))
    if factor > 1:
        image = image.reduce(factor)
    pixels = max(1, round(side / factor))
    pitch = side / factor / pixels  # of the turned grid in the source's pixels: 1, but for rounding
    cosine, sine = pitch * math.cos(math.radians(angle)), pitch * math.sin(math.radians(angle))
    turn = np.array([[cosine, sine], [-sine, cosine]])
    centre = np.array([(left + right) / 2 + shift[0] * (right - left),
                       (top + bottom) / 2 + shift[1] * (bottom - top)]) / factor
    # Positions count from the corner in PIL's boxes and here, from the first pixel's centre in OpenCV.
    offset = centre - 0.5 - turn @ np.full(2, pixels / 2 - 0.5)
    turned = cv2.warpAffine(np.asarray(image), np.column_stack([turn, offset]), (pixels, pixels),
                            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT_101)
    return resize(Image.fromarray(turned), size)


def draw_similarity(rng):
    """{'shift', 'scale', 'angle'} for `cut`: uniform, the scale's logarithm uniform."""
    return {"shift": tuple(rng.uniform(-SHIFT, SHIFT, 2)),
            "scale": math.exp(rng.uniform(*map(math.log, SCALE))),
            "angle": rng.uniform(-ANGLE, ANGLE)}


def crop_aligned(image, size, rng):
    """A random cut of an aligned face, size x size; its flip is the dataset's affair."""
    return cut(image, size, **draw_similarity(rng))
