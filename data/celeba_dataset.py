"""Pairs (lr, hr) from a folder of faces: CelebA aligned 178x218 or 178x178, 128-pixel crops, or any faces.

The image is cropped to its centred square (never squashed), then taken by PIL BICUBIC to the size at which it is
degraded.
"""

import numpy as np

from data.augment import FLIP, crop_fixed, crop_upstream
from data.pair_folder import PairFolder
from utils.images import centre_square, resize


class CelebADataset(PairFolder):
    """Samples {'lr', 'hr'}: uint8 HWC RGB, both load_size x load_size.

    augmentation: 'fixed' (as published, without its fault), 'upstream' (with it), 'none'. Flip 0.5 in both.
    """

    def __init__(self, paths, load_size, scale_factor, augmentation="none", **options):
        super().__init__(paths, load_size, scale_factor, **options)
        self.crop = {"fixed": crop_fixed, "upstream": crop_upstream, "none": None}[augmentation]

    def make_sample(self, image, rng, path):
        flip = self.crop is not None and rng.random() < FLIP
        if self.crop is None:
            face = resize(image, self.face_size, centre_square(image.size))
        else:
            face = self.crop(image, self.face_size, rng)
        if flip:
            face = face.transpose(0)  # left to right
        return self.pair(np.asarray(face), rng)
