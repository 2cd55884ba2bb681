"""Degraded and true faces from any folder of good ones (FFHQ, CelebA-HQ): for blind restoration, SPARNetHD's task."""
import hashlib
import os
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from data.degradations import degrade_ffhq
from data.face_folder import FaceFolder
from utils.images import centre_square, read_rgb, resize, save_image

FLIP = 0.5


class FFHQDataset(FaceFolder):
    """Samples {'lr', 'hr'}: uint8 HWC RGB, load_size square; lr is hr through the published chain of degradations.

    augmentation: 'none' leaves out the flip; the degradation stays, drawn from (seed, epoch, index) like all else.
    scale_factor is not used: the chain draws the small size itself. cache_folder: where the squares, resized once,
    are kept as PNG files (1024-pixel pictures take ten times as long to read as 512-pixel ones).
    """

    def __init__(self, paths, load_size, scale_factor=None, augmentation="mended", cache_folder=None,
                 **folder_options):
        super().__init__(paths, load_size, **folder_options)
        self.flip = augmentation != "none"
        self.cache_folder = cache_folder
        cv2.setNumThreads(1)  # there are many workers

    def make_sample(self, image, rng, path):
        hr = np.asarray(self._square(image, path))
        if self.flip and rng.random() < FLIP:
            hr = np.ascontiguousarray(hr[:, ::-1])
        hr, lr, _ = degrade_ffhq(hr, rng)
        return {"lr": lr, "hr": hr}

    def _square(self, image, path):
        """The picture's centred square at load_size, from the cache where it is there, and put there where not."""
        if self.cache_folder is None:
            return resize(image, self.load_size, centre_square(image.size))
        state = os.stat(path)
        key = f"{os.path.abspath(path)} {state.st_mtime_ns} {state.st_size} {self.load_size}"
        kept = Path(self.cache_folder) / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.png"
        if kept.exists():
            return read_rgb(kept)
        square = resize(image, self.load_size, centre_square(image.size))
        save_image(np.asarray(square), kept)
        return Image.fromarray(np.asarray(square))
