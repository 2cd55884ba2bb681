# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""A folder of faces to restore, optionally with reference images of the same names."""
import os
import re

import numpy as np
from PIL import Image

from data.face_folder import FaceFolder
from utils.errors import UserError
from utils.images import BadImage, centre_square, full_size, read_rgb, resize, to_trained_side
from utils.names import normalised, printable

SCALE_SUFFIX = re.compile(r"[_-]?x(2|3|4|8|16|32)$")  # of small images in the published sets: 0801x8.png


class SingleDataset(FaceFolder):
    """Samples {'lr'} or, with `references` (a FileList), {'lr', 'hr'}: uint8 HWC RGB, load_size square.

    PIL BICUBIC resizes the centred square of each image to load_size; an image of that size is unchanged.
    Raises UserError if a face has no reference or several; see match_names.
    trained_side: size of the training's faces, or None (utils/images.py: to_trained_side). With it, 'lr' is what the
    network gets, and samples also have 'given': the user's image at load_size, to be shown and scored.
    Samples also have `side`, the shorter side of the image on disk, and `unscored`: whether the reference cannot be
    read. Its note then says why, and 'hr' is black.
    """

    trains = False
    enlarges = True

    def __init__(self, paths, load_size, references=None, trained_side=None, **folder_options):
        super().__init__(paths, load_size, **folder_options)
        self.trained_side = trained_side
        self.references = match_names(paths, references) if references else None

    def make_sample(self, image, rng, path):
        taken = to_trained_side(image, self.trained_side, self.load_size)
        sample = {"lr": self.to_input(taken, self.load_size), "side": min(full_size(image)), "unscored": False}
        if self.trained_side:
            sample["given"] = sample["lr"] if taken is image else self.to_input(image, self.load_size)
        if self.references:
            try:
                sample["hr"] = square(read_rgb(self.references[path], self.load_size), self.load_size)
            except BadImage as error:
                sample |= {"hr": np.zeros_like(sample["lr"]), "unscored": True,
                           "notes": [("bad", error.path, f"{error.reason} (its face is restored, but not scored)")]}
        return sample

    @staticmethod
    def from_array(array, name):
        """Returns a uint8 RGB array [H, W, 3] as the PIL image that `read` would return for a file.

        Raises BadImage, naming the array `name`, if its shape is invalid.
        """
        if array.ndim != 3 or array.shape[2] != 3:
            raise BadImage(name, f"its shape is {array.shape}; an image [height, width, 3] is needed")
        return Image.fromarray(array)

    @staticmethod
    def to_input(image, size):
        """Returns the network's input, uint8 [size, size, 3] RGB, for an RGB PIL image of any size."""
        return square(image, size)


def square(image, size):
    """Returns the centred square of a PIL image, resized by PIL BICUBIC, as uint8 [size, size, 3]."""
    return np.asarray(resize(image, size, centre_square(image.size)))


def match_names(paths, references):
    """Returns {path: its reference} for two FileLists. Extensions and the form of Unicode do not matter.

    A reference has the same name in the same subfolder. If there is none, it is the one of the same name in any
    subfolder that is not the first kind of reference of another path. If there is none either, both are tried again
    without a suffix of the scale: 0801x8 belongs to 0801. Where several references differ in their extension only, and
    the paths likewise, those of the same extension belong together.
    Raises UserError if a path has no reference or several.
    """
    names = {path: _name(path, paths.root) for path in paths}
    found, missing = {}, list(names)
    by_folder = {}
    for reference in references:
        by_folder.setdefault(_name(reference, references.root), []).append(reference)
    for whole in (True, False):
        for path in missing:
            name = names[path] if whole else SCALE_SUFFIX.sub("", names[path])
            found[path] = by_folder.get(name, [])
        taken = {reference for several in found.values() for reference in several}
        by_stem = {}
        for name, several in by_folder.items():
            by_stem.setdefault(os.path.basename(name), []).extend(r for r in several if r not in taken)
        for path in missing:
            name = names[path] if whole else SCALE_SUFFIX.sub("", names[path])
            found[path] = found[path] or by_stem.get(os.path.basename(name), [])
        missing = [path for path in missing if not found[path]]
    sharing = {}
    for path, several in found.items():
        sharing.setdefault(tuple(several), set()).add(_whole_name(path, paths.root))
    for path, several in found.items():
        if len(several) > 1 and sharing[tuple(several)] == {_whole_name(r, references.root) for r in several}:
            found[path] = [r for r in several if _whole_name(r, references.root) == _whole_name(path, paths.root)]
        if len(found[path]) != 1:
            what = "there are " + " and ".join(map(printable, several[:2])) if several else "there is none"
            raise UserError(f"--gtroot: one reference named {printable(os.path.basename(names[path]))}.* is needed for "
                            f"{printable(path)}; {what}.")
    return {path: reference for path, (reference,) in found.items()}


def _whole_name(path, root):
    return normalised(os.path.relpath(path, root))


def _name(path, root):
    """Returns the path below `root` without its extension."""
    return os.path.splitext(_whole_name(path, root))[0]
