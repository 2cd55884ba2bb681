"""Pairs (lr, hr) from a folder of faces: CelebA aligned 178x218 or 178x178, 128-pixel crops, or any faces.

The image is cropped to its centred square (never squashed), then resized to load_size by PIL BICUBIC. The
low-resolution input is this image reduced by scale_factor and enlarged again, both by PIL BICUBIC in uint8, as in every
x8 face benchmark.
"""

import cv2
import numpy as np

from data.augment import FLIP, crop_aligned, crop_fixed, crop_upstream
from data.face_folder import FaceFolder
from utils.errors import UserError
from utils.images import centre_square, degrade, resize


def check_scale(load_size, scale_factor):
    """Raises UserError if the low-resolution face would not have a whole number of pixels."""
    if load_size % scale_factor:
        raise UserError(f"--load_size {load_size} is not a multiple of --scale_factor {scale_factor}.")


class CelebADataset(FaceFolder):
    """Samples {'lr', 'hr'}: uint8 HWC RGB, both load_size x load_size.

    augmentation: 'fixed' (as published, with its fault fixed), 'upstream' (as published), 'aligned' (a random
    similarity transform, data/augment.py), 'none'. All but 'none' flip with probability 0.5.
    """

    aligns = True

    def __init__(self, paths, load_size, scale_factor, augmentation="none", **folder_options):
        super().__init__(paths, load_size, **folder_options)
        check_scale(load_size, scale_factor)
        self.scale_factor = scale_factor
        crops = {"fixed": crop_fixed, "upstream": crop_upstream, "aligned": crop_aligned, "none": None}
        self.crop = crops[augmentation]
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
