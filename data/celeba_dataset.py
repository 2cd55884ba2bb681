# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Pairs (lr, hr) from a folder of faces: CelebA aligned 178x218 or 178x178, 128-pixel crops, or any faces.

Each image is cropped to its centred square (never squashed), then resized by PIL BICUBIC to the size at which it is
degraded.
"""

import cv2
import numpy as np

from data.augment import FLIP, crop_aligned, crop_fixed, crop_upstream
from data.pair_folder import PairFolder
from utils.images import centre_square, resize


class CelebADataset(PairFolder):
    """Samples {'lr', 'hr'}: uint8 HWC RGB, both load_size x load_size.

    augmentation: 'fixed' (as published, with its fault fixed), 'upstream' (as published), 'aligned' (a random
    similarity transform, data/augment.py), 'none'. All but 'none' flip with probability 0.5.
    """

    aligns = True

    def __init__(self, paths, load_size, scale_factor=None, augmentation="none", **options):
        super().__init__(paths, load_size, scale_factor, **options)
        crops = {"fixed": crop_fixed, "upstream": crop_upstream, "aligned": crop_aligned, "none": None}
        self.crop = crops[augmentation]
        if augmentation == "aligned":
            cv2.setNumThreads(1)  # there are many workers

    def make_face(self, image, rng):
        """Returns the clean face of a sample: an RGB PIL image, face_size x face_size."""
        flip = self.crop is not None and rng.random() < FLIP
        if self.crop is None:
            face = resize(image, self.face_size, centre_square(image.size))
        else:
            face = self.crop(image, self.face_size, rng)
        return face.transpose(0) if flip else face  # left to right

    def make_sample(self, image, rng, path):
        return self.pair(np.asarray(self.make_face(image, rng)), rng)
