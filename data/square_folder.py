"""What the datasets share whose faces are centred squares, resized once and flipped: reading, and the cache."""
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
    """A square picture (PIL or uint8 HWC array), or a square box of a PIL one: uint8 HWC, side x side, PIL BICUBIC."""
    if isinstance(image, np.ndarray):
        if len(image) == side:
            return image
        image = Image.fromarray(image)
    return np.asarray(resize(image, side, box))


def area(image, side, box=None):
    """As bicubic, but where it shrinks by OpenCV's INTER_AREA: each pixel is the mean of what it covers."""
    square = np.asarray(image.crop(box) if box else image)
    if len(square) <= side:  # INTER_AREA would enlarge in blocks
        return bicubic(square, side)
    return cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA)


class SquareFolder(FaceFolder):
    """Base of such datasets. A subclass makes {'lr', 'hr'} of a face: `make_pair(face, rng, path, mirrored)`.

    to_side: how a square is resized, one of the two above. square_size: the pixels of the face that make_pair takes
    (smallest_square where load_size is less). augmentation: 'none' leaves out the flip, 'fixed' and 'upstream' are the
    same. scale_factor is taken, as by all datasets for training, and not used: no input here is a small face.
    cache_folder: where the squares, resized once, are kept as BMP files, read thirty times as fast as a 1024-pixel JPEG
    is read and resized (786 kB each at 512 pixels).
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
        """The picture's centred square at square_size, from the cache where it is there, and put there where not."""
        kept = self._cache_path(path) if self.cache_folder else None
        if kept and kept.exists():
            with contextlib.suppress(BadImage):  # a power cut, say, has spoilt it: it is made anew
                return read_rgb(kept)
        found = len(notes)
        image = super().read(path, notes)
        square = self.to_side(image, self.square_size, centre_square(image.size))
        if kept and len(notes) == found:  # of a small picture the note must come again
            try:
                save_image(square, kept)
            except WriteError as error:
                notes.append(("cache", path, f"{self.cache_folder}: {error.reason}"))
        return square

    def _cache_path(self, path):
        """Under a name that changes with the file, with how it is resized, and with what decides whether it is used."""
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
        """{'lr', 'hr'}: uint8 HWC RGB, load_size square, of a face [square_size, square_size, 3], mirrored or not."""
        raise NotImplementedError
