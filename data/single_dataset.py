"""A folder of faces to restore, with or without references of the same names."""
import os

import numpy as np
from PIL import Image

from data.face_folder import FaceFolder
from utils.errors import UserError
from utils.images import BadImage, centre_square, read_rgb, resize


class SingleDataset(FaceFolder):
    """Samples {'lr'} or, with `references` (a list of files), {'lr', 'hr'}: uint8 HWC RGB, load_size square.

    The centred square of each picture, taken by PIL BICUBIC to load_size: a 16-pixel face is so enlarged to
    what the network expects, and one that was enlarged already stays as it is. A reference belongs to the face
    of the same file name, whatever its extension and folder; UserError names a face that has none.
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
        """Returns the RGB PIL image of a uint8 array [H, W, 3], RGB, in place of one that `read` read.

        Raises BadImage, calling the array `name`, if it is none that the dataset could have read.
        """
        if array.ndim != 3 or array.shape[2] != 3:
            raise BadImage(name, f"its shape is {array.shape}; an image [height, width, 3] is needed")
        return Image.fromarray(array)

    @staticmethod
    def to_input(image, size):
        """Returns the network's input, uint8 [size, size, 3], RGB, of an RGB PIL image of any size."""
        return square(image, size)


def square(image, size):
    """Returns the centred square of a PIL image as uint8 [size, size, 3], by PIL BICUBIC."""
    return np.asarray(resize(image, size, centre_square(image.size)))


def match_names(paths, references):
    """{path: reference of the same name without extension}; UserError for a missing or ambiguous one."""
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
