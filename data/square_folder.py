"""Base of the datasets whose faces are centred squares, resized once and flipped: reading and the cache."""
import contextlib
import hashlib
import os
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from data.face_folder import FaceFolder
from utils.files import WriteError
from utils.images import BadImage, centre_square, read_rgb, resize, save_image

FLIP = 0.5


def bicubic(image, side, box=None):
    """Resizes a square image (PIL or uint8 HWC array), or a square box of a PIL image, to uint8 HWC by PIL BICUBIC."""
    if isinstance(image, np.ndarray):
        if len(image) == side:
            return image
        image = Image.fromarray(image)
    return np.asarray(resize(image, side, box))


def area(image, side, box=None):
    """Like bicubic, but shrinks by OpenCV's INTER_AREA: each pixel is the mean of the pixels that it covers."""
    square = np.asarray(image.crop(box) if box else image)
    if len(square) <= side:  # INTER_AREA would enlarge in blocks
        return bicubic(square, side)
    return cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA)


class SquareFolder(FaceFolder):
    """Base class of these datasets. A subclass implements `make_pair(face, rng, path, mirrored)`.

    to_side: function that resizes a square, one of the two above. square_size: side of make_pair's face in pixels
    (load_size, at least smallest_square). augmentation: 'none' never flips; 'fixed' and 'upstream' flip with
    probability 0.5. scale_factor: accepted like in all training datasets, not used: no input here is a small face.
    cache_folder: folder of the resized squares, as BMP files (786 kB each at 512 pixels). Reading one is thirty times
    as fast as reading and resizing a 1024-pixel JPEG.
    """

    caches = True
    input_title = "input"
    to_side = staticmethod(bicubic)
    smallest_square = 0

    def __init__(self, paths, load_size, scale_factor=None, augmentation="fixed", cache_folder=None,
                 **folder_options):
        super().__init__(paths, load_size, **folder_options)
        self.flip = augmentation != "none"
        self.cache_folder = cache_folder
        self.square_size = max(load_size, self.smallest_square)
        cv2.setNumThreads(1)  # there are many workers

    def read(self, path, notes):
        """Returns the image's centred square at square_size, from the cache if it is there; otherwise caches it."""
        kept = self._cache_path(path) if self.cache_folder else None
        if kept and kept.exists():
            with contextlib.suppress(BadImage):  # corrupted, e.g. by a power cut: it is written again
                return read_rgb(kept)
        found = len(notes)
        image = super().read(path, notes)
        square = self.to_side(image, self.square_size, centre_square(image.size))
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
        key = (f"{os.path.abspath(path)} {state.st_mtime_ns} {state.st_size} {self.load_size} {self.square_size} "
               f"{self.min_size} {self.to_side.__name__}")
        return Path(self.cache_folder) / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.bmp"

    def make_sample(self, image, rng, path):
        face = np.asarray(image)
        mirrored = self.flip and rng.random() < FLIP
        if mirrored:
            face = np.ascontiguousarray(face[:, ::-1])
        return self.make_pair(face, rng, path, mirrored)

    def make_pair(self, face, rng, path, mirrored):
        """Returns {'lr', 'hr'}, uint8 HWC RGB, load_size square, of a face, uint8 [square_size, square_size, 3]."""
        raise NotImplementedError
