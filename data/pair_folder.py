# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Base of the datasets that degrade clean faces."""
import cv2

from data.face_folder import FaceFolder
from data.pairs import DEGRADATION_BY_NAME
from utils.errors import UserError


class PairFolder(FaceFolder):
    """Base class of datasets that crop a square face from each image; a degradation (data/pairs.py) makes lr from it.

    default_degradation: used unless `degradation` names another one.
    names_degradation: whether the dataset's name also implies its degradation (blind, colorization).
    face_size: side of the face that `pair` expects, in pixels.
    """

    degradable = True
    default_degradation = DEGRADATION_BY_NAME["bicubic"]

    def __init__(self, paths, load_size, scale_factor=None, degradation=None, **folder_options):
        super().__init__(paths, load_size, **folder_options)
        self.degradation = DEGRADATION_BY_NAME[degradation] if degradation else self.default_degradation
        if self.degradation.reads_scale_factor:
            check_scale(load_size, scale_factor)
        self.scale_factor, self.input_title = scale_factor, self.degradation.input_title
        self.face_size = self.needed = max(load_size, self.degradation.smallest_face)
        if self.degradation is not DEGRADATION_BY_NAME["bicubic"]:
            cv2.setNumThreads(1)  # the loader runs several workers in parallel

    def pair(self, face, rng):
        """Returns {'lr', 'hr'}, uint8 [load_size, load_size, 3], RGB, and 'drawn', of data/pairs.py: Degradation.

        face: uint8 [face_size, face_size, 3].
        """
        hr, lr, drawn = self.degradation.make(face, rng, self.load_size, self.scale_factor)
        return {"lr": lr, "hr": hr, "drawn": drawn}


def check_scale(load_size, scale_factor):
    """Raises UserError if the low-resolution face would not have a whole number of pixels."""
    if load_size % scale_factor:
        raise UserError(f"--load_size {load_size} is not a multiple of --scale_factor {scale_factor}.")
