# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Any folder of faces with a CSV or .npz file of 68 landmarks per face, in iBUG 300-W order."""
import os

import numpy as np

from data.face_folder import MASKS
from data.face_parts import POINTS_68
from data.landmark_files import FILES_68, find_landmarks_68
from data.prior_folder import PriorFolder
from utils.images import list_images


class Landmarks68Dataset(PriorFolder):
    """68 heatmaps and 9 parsing maps (data/face_parts.py: FACE_PARTS), both drawn from the landmarks.

    The landmark file lies in the folder of faces or its parent. It identifies images by name, by path, or by split (a
    folder that contains them) and name. Folders named masks are skipped.
    """

    point_set = POINTS_68
    layouts = (f"one of {', '.join(FILES_68)} in this folder or its parent, with the columns file (or name), split "
               f"(optional), x0, y0 .. x67, y67; .npz: arrays name, landmarks (or landmarks_x10)")

    @classmethod
    def list_faces(cls, folder, option, index_folder=None, leave_out=()):
        found = list_images(folder, option, index_folder, leave_out)
        start = len(os.path.join(folder, ""))
        return found.at(np.flatnonzero([MASKS not in path[start:].split(os.sep)[:-1] for path in found]))

    def open_annotations(self, root):
        self.landmarks = find_landmarks_68(root)
        return [self.landmarks]
