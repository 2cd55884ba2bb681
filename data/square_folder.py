# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Base of the datasets whose faces are centred squares, resized once and flipped: reading and the cache."""
import contextlib
import hashlib
import os
from pathlib import Path

import cv2
import numpy as np

from data.pair_folder import PairFolder
from utils.files import WriteError
from utils.images import BadImage, centre_square, read_rgb, save_image

FLIP = 0.5


class SquareFolder(PairFolder):
    """Base class of these datasets. Squares are resized to face_size by the degradation's to_side.

    augmentation: 'none' never flips; 'fixed' and 'upstream' flip with probability 0.5.
    cache_folder: folder of the resized squares, as BMP files (786 kB each at 512 pixels). Reading one is thirty times
    as fast as reading and resizing a 1024-pixel JPEG.
    """

    caches = True
    input_title = "input"

    def __init__(self, paths, load_size, scale_factor=None, augmentation="fixed", cache_folder=None, **options):
        super().__init__(paths, load_size, scale_factor, **options)
        self.flip = augmentation != "none"
        self.cache_folder = cache_folder
        cv2.setNumThreads(1)  # there are many workers

    def read(self, path, notes):
        """Returns the image's centred square at face_size: from the cache if it is there; otherwise caches it."""
        kept = self._cache_path(path) if self.cache_folder else None
        if kept and kept.exists():
            with contextlib.suppress(BadImage):  # corrupted, e.g. by a power cut: it is written again
                return read_rgb(kept)
        found = len(notes)
        image = super().read(path, notes)
        square = self.degradation.to_side(image, self.face_size, centre_square(image.size))
        if kept and len(notes) == found:  # an image with a note is not cached: the note must come again
            try:
                save_image(square, kept)
            except WriteError as error:
                notes.append(("cache", path, f"{self.cache_folder}: {error.reason}"))
        return square

    def _cache_path(self, path):
        """Returns the cache path of a file, None if there is no such file.

        The name depends on the file's path, time and size, and on all settings that change the square or refuse it.
        """
        try:
            state = os.stat(path)
        except OSError:
            return None
        key = (f"{os.path.abspath(path)} {state.st_mtime_ns} {state.st_size} {self.load_size} {self.face_size} "
               f"{self.min_size} {self.degradation.to_side.__name__}")
        return Path(self.cache_folder) / f"{hashlib.sha256(os.fsencode(key)).hexdigest()[:32]}.bmp"

    def make_sample(self, image, rng, path):
        face = np.asarray(image)
        mirrored = self.flip and rng.random() < FLIP
        if mirrored:
            face = np.ascontiguousarray(face[:, ::-1])
        return self.make_pair(face, rng, path, mirrored)

    def make_pair(self, face, rng, path, mirrored):
        """Returns {'lr', 'hr'}: uint8 HWC RGB, load_size square, of a face [face_size, face_size, 3], mirrored or not.

        Override it if the input is read from a file that belongs to the face.
        """
        return self.pair(face, rng)
