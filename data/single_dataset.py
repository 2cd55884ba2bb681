"""A folder of faces to restore, optionally with reference images of the same names."""
import os

import numpy as np
from PIL import Image

from data.face_folder import FaceFolder
from utils.errors import UserError
from utils.images import BadImage, centre_square, read_rgb, resize


class SingleDataset(FaceFolder):
    """Samples {'lr'} or, with `references` (a list of files), {'lr', 'hr'}: uint8 HWC RGB, load_size square.

    PIL BICUBIC resizes the centred square of each image to load_size; an image of that size is unchanged.
    A reference belongs to the face of the same file name; extension and folder do not matter. Raises UserError if a
    face has no reference or several.
    """

    trains = False
    enlarges = True

    def __init__(self, paths, load_size, references=None, **folder_options):
        super().__init__(paths, load_size, **folder_options)
        self.references = match_names(paths, references) if references else None

    def make_sample(self, image, rng, path):
        sample = {"lr": self.to_input(image, self.load_size)}
        if self.references:
            sample["hr"] = square(read_rgb(self.references[path]), self.load_size)
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
    """Returns {path: reference of the same name without extension}.

    Raises UserError if a path has no reference or several.
    """
    by_name = {}
    for reference in references:
        by_name.setdefault(_name(reference), []).append(reference)
    for path in paths:
        found = by_name.get(_name(path), [])
        if len(found) != 1:
            what = "there are " + " and ".join(found[:2]) if found else "there is none"
            raise UserError(f"--gtroot: one reference named {_name(path)}.* is needed for {path}; {what}.")
    return {path: by_name[_name(path)][0] for path in paths}


def _name(path):
    return os.path.splitext(os.path.basename(path))[0]
