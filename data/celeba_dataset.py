"""Pairs (lr, hr) from a folder of faces: CelebA aligned 178x218 or 178x178, 128-pixel crops, or any faces.

The picture is cropped to its centred square (never squashed), then taken to load_size by PIL BICUBIC; the
low-resolution input is that, down by scale_factor and up again, both PIL BICUBIC in uint8, as every x8
face benchmark has it.
"""
import math

import cv2
import numpy as np

from data.augment import crop_aligned
from data.face_folder import FaceFolder
from utils.errors import UserError
from utils.images import centre_square, degrade, resize

AUGMENTATIONS = ("aligned", "mended", "upstream", "none")
FLIP, LARGEST_SCALE, CROP_AREA, CROP_RATIO = 0.5, 1.3, (0.7, 1.0), (3 / 4, 4 / 3)


def random_crop_box(width, height, rng, attempts=10):
    """(left, top, right, bottom) of a random part: area 0.7 to 1 of the whole, ratio 3/4 to 4/3 (log-uniform).

    Where the drawn shape does not fit, another is drawn; after `attempts`, the whole picture.
    """
    for _ in range(attempts):
        area = width * height * rng.uniform(*CROP_AREA)
        ratio = math.exp(rng.uniform(*map(math.log, CROP_RATIO)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
            return left, top, left + w, top + h
    return 0, 0, width, height


def mended_box(square, size, rng):
    """(left, top, right, bottom), fractional, of the published random crop as it was meant, within a square box.

    Published: scale by U[1, 1.3], then crop 0.7 to 1 of the scaled picture's area, to size x size. The
    scaling cancels out of such a relative crop, so all that is left of it is the crop's box.
    """
    left, top, right, _ = square
    unit = (right - left) / size
    return [start + edge * unit
            for start, edge in zip((left, top, left, top), random_crop_box(size, size, rng), strict=True)]


def crop_mended(image, size, rng):
    """A random crop of the picture's centred square, in ONE bicubic resampling from the original picture."""
    return resize(image, size, mended_box(centre_square(image.size), size, rng))


def crop_upstream(image, size, rng):
    """The published code's crop with its fault: the box is drawn for the unscaled picture.

    So it always lies at the top left of the scaled one, and a picture whose scaled width rounds to its own
    comes back without any crop.
    """
    image = resize(image, size, centre_square(image.size))
    scaled = int(size * rng.uniform(1, LARGEST_SCALE))
    if scaled == size:
        return image
    return resize(resize(image, scaled), size, random_crop_box(size, size, rng))


def check_scale(load_size, scale_factor):
    """UserError where the low-resolution face would not have a whole number of pixels."""
    if load_size % scale_factor:
        raise UserError(f"--load_size {load_size} is not a multiple of --scale_factor {scale_factor}.")


class CelebADataset(FaceFolder):
    """Samples {'lr', 'hr'}: uint8 HWC RGB, both load_size x load_size.

    augmentation: 'mended' (as published, without its fault), 'upstream' (with it), 'aligned' (data/augment.py), 'none'.
    Flip 0.5 in all but the last.
    """

    aligns = True

    def __init__(self, paths, load_size, scale_factor, augmentation="none", **folder_options):
        super().__init__(paths, load_size, **folder_options)
        check_scale(load_size, scale_factor)
        self.scale_factor = scale_factor
        self.crop = {"aligned": crop_aligned, "mended": crop_mended, "upstream": crop_upstream,
                     "none": None}[augmentation]
        if augmentation == "aligned":
            cv2.setNumThreads(1)  # there are many workers

    def make_face(self, image, rng):
        """The true face of a sample: an RGB PIL image, load_size x load_size."""
        flip = self.crop is not None and rng.random() < FLIP
        if self.crop is None:
            hr = resize(image, self.load_size, centre_square(image.size))
        else:
            hr = self.crop(image, self.load_size, rng)
        if flip:
            hr = hr.transpose(0)  # left to right
        return hr

    def make_sample(self, image, rng, path):
        hr = self.make_face(image, rng)
        lr = degrade(hr, self.scale_factor)
        return {"lr": np.asarray(lr), "hr": np.asarray(hr)}
