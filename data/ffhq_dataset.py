"""Degraded and true faces from any folder of good ones (FFHQ, CelebA-HQ): for blind restoration, SPARNetHD's task."""
import hashlib
import os
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from data.degradations import FACE_SIZE, degrade_ffhq, grey
from data.face_folder import FaceFolder
from utils.images import centre_square, read_rgb, resize, save_image

FLIP = 0.5


class FFHQDataset(FaceFolder):
    """Samples {'lr', 'hr'}: uint8 HWC RGB, load_size square; lr is hr through the published chain of degradations.

    The chain counts in pixels of a 512-pixel face, so it is done at that size whatever load_size is, and both pictures
    are then taken to load_size by PIL BICUBIC: a network of 128 pixels sees the same faces, only smaller.
    augmentation: 'none' leaves out the flip; the degradation stays, drawn from (seed, epoch, index) like all else.
    scale_factor is not used: the chain draws the small size itself. cache_folder: where the squares, resized once, are
    kept as BMP files, read thirty times as fast as a 1024-pixel JPEG is read and resized (786 kB each at 512 pixels).
    """

    caches = True

    def __init__(self, paths, load_size, scale_factor=None, augmentation="mended", cache_folder=None,
                 **folder_options):
        super().__init__(paths, load_size, **folder_options)
        self.flip = augmentation != "none"
        self.cache_folder = cache_folder
        self.square_size = max(load_size, FACE_SIZE)
        cv2.setNumThreads(1)  # there are many workers

    def read(self, path, notes):
        """The picture's centred square at square_size, from the cache where it is there, and put there where not."""
        kept = self._cache_path(path) if self.cache_folder else None
        if kept and kept.exists():
            return read_rgb(kept)
        found = len(notes)
        image = super().read(path, notes)
        square = resize(image, self.square_size, centre_square(image.size))
        if kept and len(notes) == found:  # of a small picture the note must come again
            try:
                save_image(np.asarray(square), kept)
            except OSError as error:
                notes.append(("cache", path, f"{self.cache_folder}: {error.strerror}"))
        return square

    def _cache_path(self, path):
        """Under a name that changes with the file, and with what decides whether it can be used."""
        try:
            state = os.stat(path)
        except OSError:
            return None
        key = f"{os.path.abspath(path)} {state.st_mtime_ns} {state.st_size} {self.load_size} {self.min_size}"
        return Path(self.cache_folder) / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.bmp"

    def make_sample(self, image, rng, path):
        if self.flip and rng.random() < FLIP:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        hr, lr, drawn = degrade_ffhq(to_side(image, FACE_SIZE), rng)
        if self.load_size > FACE_SIZE:  # the target shows more than the chain saw
            hr = grey(np.asarray(image)) if drawn.get("grey") else image
        return {"lr": to_side(lr, self.load_size), "hr": to_side(hr, self.load_size)}


def to_side(image, side):
    """A square picture, PIL or uint8 HWC array, as uint8 HWC array of side x side: PIL BICUBIC where it has another."""
    image = np.asarray(image)
    return image if len(image) == side else np.asarray(resize(Image.fromarray(image), side))
