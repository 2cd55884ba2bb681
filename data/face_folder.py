# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Base class of all face datasets: file list, random generator per sample, and replacement of corrupted files."""
import os
from typing import NamedTuple

import numpy as np

from utils.images import BadImage, full_size, list_images, read_rgb

# Folder of faces and the folder of masks beside it: CelebAMask-HQ as published, and maps of class indices.
OFFICIAL, PARTS = "CelebA-HQ-img", "CelebAMask-HQ-mask-anno"
IMAGES, MASKS = "images", "masks"
MAX_REPLACEMENTS = 100  # in a row; more corrupted neighbours mean that the folder itself is wrong


class Place(NamedTuple):
    """Position of a sample in the training: its epoch and its index in the dataset."""
    epoch: int
    index: int


class FaceFolder:
    """Base class of the datasets. A subclass implements `make_sample(image, rng, path)` for one image.

    Class attributes:
    trains: whether a network can be trained on it (each lr has an hr, and --augmentation is supported).
    degradable: whether it accepts degradation; names_degradation: whether its name says which (data/pair_folder.py).
    aligns: whether it supports --augmentation aligned. caches: whether it accepts cache_folder.
    takes_priors: whether it accepts priors (data/prior_folder.py).
    enlarges: inputs are expected to be smaller than load_size, so there is no "small" note.
    input_dataset: name of the dataset that reads such inputs from a folder (newtest.py's --dataroot) instead of
    generating them. input_title: name of the input where it is scored beside the output.

    paths: files, in a fixed order. seed: a sample's randomness depends on (seed, epoch, index) only, so the number of
    workers, the loading order and resuming do not change it. min_size: an image whose shorter side is smaller (pixels)
    counts as bad. load_size: side of the samples in pixels; smaller images are enlarged and counted.
    on_bad_image: 'replace', or 'stop', also for programs that leave bad images out: a bad image then gives no sample.

    Attributes: warnings, lines to be logged at start: which files of the folder are not used, and why. needed: shorter
    side in pixels that is of use, see utils/images.py: read_rgb; None if samples need the image's own pixels.

    Each sample has `index`, `replaced` (whether another file was used instead) and `notes`, a list of
    (kind, path, what): ("bad", ...) per corrupted file, which the next readable file in the list replaces;
    ("small", ...) for an enlarged image; ("frames", ...) for an animation; ("cache", ...) for an image that could not
    be written to the cache.
    """

    trains = True
    degradable = False
    names_degradation = False
    aligns = False
    caches = False
    takes_priors = False
    enlarges = False
    input_dataset = "single"
    input_title = "bicubic"

    @classmethod
    def list_faces(cls, folder, option, index_folder=None, leave_out=()):
        """Returns the FileList of the faces below `folder`: all images except a masks folder beside the faces folder.

        Arguments and errors: see utils.images.list_images. Subclasses may exclude further files.
        """
        for faces, masks in ((OFFICIAL, PARTS), (IMAGES, MASKS)):
            if all(os.path.isdir(os.path.join(folder, name)) for name in (faces, masks)):
                return list_images(os.path.join(folder, faces), option, index_folder, leave_out)
        return list_images(folder, option, index_folder, leave_out)

    def __init__(self, paths, load_size, seed=0, min_size=0, on_bad_image="replace"):
        self.paths = paths
        self.warnings = list(getattr(paths, "notes", ()))
        self.load_size = self.needed = load_size
        self.seed = seed
        self.min_size = min_size
        self.on_bad_image = on_bad_image

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, place):
        epoch, index = place
        rng = np.random.default_rng([self.seed, epoch, index])
        notes = []
        for attempt in range(MAX_REPLACEMENTS):
            path = self.paths[(index + attempt) % len(self.paths)]
            try:
                sample = self.make_sample(self.read(path, notes), rng, path)
            except BadImage as error:
                notes.append(("bad", error.path, error.reason))
                if self.on_bad_image == "stop":
                    return {"notes": notes}
                continue
            notes += sample.pop("notes", ())
            return sample | {"index": index, "replaced": attempt > 0, "notes": notes}
        return {"notes": notes}

    def read(self, path, notes):
        """Returns the upright RGB PIL image at `path`; adds a note to `notes` if it is small.

        Raises BadImage if it cannot be read or is smaller than min_size.
        """
        image = self.open_image(path)
        width, height = full_size(image)
        size = f"{width}x{height} pixels"
        if min(width, height) < self.min_size:
            raise BadImage(path, f"{size}, smaller than --min_size {self.min_size}")
        if min(width, height) < self.load_size and not self.enlarges:
            notes.append(("small", path, size))
        if "frames" in image.info:
            notes.append(("frames", path, "its first frame is used"))
        return image

    def open_image(self, path):
        """Returns the upright RGB PIL image at `path`; raises BadImage. Override it for files that are not photos."""
        return read_rgb(path, self.needed)

    def make_sample(self, image, rng, path):
        """Returns {'lr', 'hr', ...: uint8 HWC RGB}.

        image: result of `read` for `path`. rng: numpy Generator of this sample. May raise BadImage if a file that
        belongs to the image (for example its mask) cannot be used. May add `notes`, as described above.
        """
        raise NotImplementedError
