# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Random crops of the published recipes, and a random similarity transform. All randomness comes from `rng` (numpy)."""
import math

import cv2
import numpy as np
from PIL import Image

from utils.images import centre_square, resize

FLIP, LARGEST_SCALE, CROP_AREA, CROP_RATIO = 0.5, 1.3, (0.7, 1.0), (3 / 4, 4 / 3)
# Ranges of `aligned`: they cover how differently aligners, detectors and people crop faces.
SHIFT = 12 / 178  # fraction of the centred square's side: 12 of CelebA's 178 pixels
SCALE = (0.8, 1.25)
ANGLE = 10.0  # degrees, in either direction
FINEST = 2  # source pixels per target pixel; larger images are first reduced by an integer factor


def random_crop_box(width, height, rng, attempts=10):
    """Returns (left, top, right, bottom) of a random crop: 0.7 to 1 of the area, ratio 3/4 to 4/3 (log-uniform).

    A shape that does not fit is drawn again; after `attempts` the crop is the whole image.
    """
    for _ in range(attempts):
        area = width * height * rng.uniform(*CROP_AREA)
        ratio = math.exp(rng.uniform(*map(math.log, CROP_RATIO)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
            return left, top, left + w, top + h
    return 0, 0, width, height


def fixed_box(square, size, rng):
    """Returns (left, top, right, bottom), fractional, of the published random crop as intended, within `square`.

    Published: scale by U[1, 1.3], then crop 0.7 to 1 of the scaled image's area, to size x size. The scaling cancels
    out of such a relative crop: only the crop's box remains.
    """
    left, top, right, _ = square
    unit = (right - left) / size
    return [start + edge * unit
            for start, edge in zip((left, top, left, top), random_crop_box(size, size, rng), strict=True)]


def crop_fixed(image, size, rng):
    """Returns a random crop of the image's centred square, in one bicubic resampling of the original image."""
    return resize(image, size, fixed_box(centre_square(image.size), size, rng))


def crop_upstream(image, size, rng):
    """Returns the published code's crop with its bug: the box is drawn for the unscaled image.

    The crop therefore always lies at the top left of the scaled image, and an image whose scaled width rounds to `size`
    is not cropped at all.
    """
    image = resize(image, size, centre_square(image.size))
    scaled = int(size * rng.uniform(1, LARGEST_SCALE))
    if scaled == size:
        return image
    return resize(resize(image, scaled), size, random_crop_box(size, size, rng))


def cut(image, size, shift=(0.0, 0.0), scale=1.0, angle=0.0):
    """Returns the centred square of the RGB PIL `image`, shifted, scaled and rotated: RGB PIL, size x size.

    shift: (right, down) offset of the crop, in sides of the centred square. scale: above 1 the face becomes larger.
    angle: degrees by which the face rotates clockwise. Areas outside the image are filled with its reflection.

    The image is sampled once, on a rotated grid of its own resolution, then resized to `size` like a plain crop (PIL
    BICUBIC, antialiased). Without a transform the result equals the plain crop bit for bit, unless the image is reduced
    first.
    """
    left, top, right, bottom = centre_square(image.size)
    side = (right - left) / scale
    factor = max(1, int(side / (FINEST * size)))
    if factor > 1:
        image = image.reduce(factor)
    pixels = max(1, round(side / factor))
    pitch = side / factor / pixels  # spacing of the rotated grid in source pixels: 1 up to rounding
    cosine, sine = pitch * math.cos(math.radians(angle)), pitch * math.sin(math.radians(angle))
    turn = np.array([[cosine, sine], [-sine, cosine]])
    centre = np.array([(left + right) / 2 + shift[0] * (right - left),
                       (top + bottom) / 2 + shift[1] * (bottom - top)]) / factor
    # Positions here and in PIL's boxes are relative to the image's corner, OpenCV's to the first pixel's centre.
    offset = centre - 0.5 - turn @ np.full(2, pixels / 2 - 0.5)
    turned = cv2.warpAffine(np.asarray(image), np.column_stack([turn, offset]), (pixels, pixels),
                            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT_101)
    return resize(Image.fromarray(turned), size)


def draw_similarity(rng):
    """Returns random {'shift', 'scale', 'angle'} for `cut`: uniform; the scale is log-uniform."""
    return {"shift": tuple(rng.uniform(-SHIFT, SHIFT, 2)),
            "scale": math.exp(rng.uniform(*map(math.log, SCALE))),
            "angle": rng.uniform(-ANGLE, ANGLE)}


def crop_aligned(image, size, rng):
    """Returns a random crop of an aligned face, size x size, without a flip."""
    return cut(image, size, **draw_similarity(rng))
