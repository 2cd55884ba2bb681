# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Segmentation maps and faces, for GPEN's synthesis of a face from its segmentation."""
import cv2
import numpy as np
from PIL import Image

from data.celebamask_dataset import LAYOUTS, checked_indices, index_array, open_masks
from data.face_parts import MIRRORED_CLASSES
from data.pairs import Degradation, area
from data.prior_folder import annotated
from data.single_dataset import SingleDataset
from data.square_folder import SquareFolder
from utils.images import BadImage, centre_square, list_images, open_image, read_rgb

# RGB colour per class, in the order of CLASSES (data/face_parts.py), as in CelebAMask-HQ's own tools.
PALETTE = np.array([
    (0, 0, 0), (204, 0, 0), (76, 153, 0), (204, 204, 0), (51, 51, 255), (204, 0, 204), (0, 255, 255), (255, 204, 204),
    (102, 51, 0), (255, 0, 0), (102, 204, 0), (255, 255, 0), (0, 0, 153), (0, 0, 204), (255, 51, 153), (0, 204, 204),
    (0, 51, 0), (255, 153, 51), (0, 204, 0)], np.uint8)
NEAR, MOSTLY = 24, 0.65  # largest difference per channel (0..255), smallest share of pixels within it


def centred_map(values, side):
    """Returns the centred square of a map [H, W] or [H, W, 3] at side x side by nearest pixel: classes must not mix."""
    left, top, right, bottom = centre_square(values.shape[1::-1])
    return cv2.resize(values[top:bottom, left:right], (side, side), interpolation=cv2.INTER_NEAREST_EXACT)


class Seg2FaceDataset(SquareFolder):
    """Samples {'lr', 'hr'}: uint8 HWC RGB, load_size square; hr is a face, lr its class map in PALETTE's colours.

    Reads the same folders as --dataset_name celebamask, and therefore the built-in faces. Faces without a map are
    dropped and listed in `warnings`. A flip also exchanges left and right parts.
    paths: a FileList from list_faces.
    """

    degradable = False
    input_dataset = "map_inputs"
    default_degradation = Degradation(make=None, to_side=area)  # lr is the map

    def __init__(self, paths, load_size, *arguments, **options):
        self.masks = open_masks(paths.root)
        paths, unused = annotated(paths, [self.masks], LAYOUTS)
        super().__init__(paths, load_size, *arguments, **options)
        self.warnings += unused

    def make_pair(self, face, rng, path, mirrored):
        index_map = centred_map(self.masks.index_map(path), self.load_size)
        if mirrored:
            index_map = MIRRORED_CLASSES[index_map[:, ::-1]]
        return {"lr": PALETTE[index_map], "hr": face}


def check_colours(image, path):
    """Raises BadImage unless most pixels of an image, uint8 [H, W, 3] RGB, have PALETTE's colours.

    Other colours are tolerated in a minority of pixels: JPEG compression blurs a map's edges.
    """
    if image.any() and not np.ptp(image, axis=2).any():
        raise BadImage(path, "not a colour map: it is grey in three channels; indices have one channel")
    near = np.zeros(image.shape[:2], bool)
    for colour in PALETTE.astype(np.int16):
        near |= np.abs(image - colour).max(2) <= NEAR
    if near.mean() < MOSTLY:
        raise BadImage(path, f"not a map of face parts: only {near.mean():.0%} of its pixels have their colours")


class MapInputs(SingleDataset):
    """SingleDataset for maps: indices of the 19 classes (one 8-bit channel), or PALETTE's colours (RGB)."""

    input_dataset = "map_inputs"
    list_faces = staticmethod(list_images)  # the input is the maps themselves, so a masks folder is not excluded

    def open_image(self, path):
        image = open_image(path)
        if image.mode in ("RGB", "RGBA"):
            return self.from_array(np.asarray(read_rgb(path)), path)
        return self.from_array(index_array(image, path), path)

    @staticmethod
    def from_array(array, name):
        """Returns a uint8 map, indices [H, W] or colours [H, W, 3], as a PIL image in PALETTE's colours.

        Raises BadImage, naming `name`, if it is not such a map.
        """
        if array.ndim == 2:
            return Image.fromarray(PALETTE[checked_indices(array, name)])
        image = SingleDataset.from_array(array, name)
        check_colours(array, name)
        return image

    @staticmethod
    def to_input(image, size):
        return centred_map(np.asarray(image), size)
