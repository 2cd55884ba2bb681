# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The project's own drawn faces (data/drawn/builtin_faces.py), with exact priors."""
from data.celebamask_dataset import CelebAMaskDataset
from data.face_parts import POINTS_68
from data.landmark_files import FILES_68, find_landmarks_68


class BuiltinDataset(CelebAMaskDataset):
    """11 parsing maps from the faces' masks; with --priors, 68 heatmaps before them or instead of them.

    It also reads CelebAMask-HQ if a landmark file lies beside its folders.
    """

    point_set = POINTS_68
    layouts = (f"{CelebAMaskDataset.layouts}; with heatmaps also for one of {', '.join(FILES_68)} beside these folders "
               f"or one level above")

    def open_annotations(self, root):
        masks = super().open_annotations(root) if "parsing" in self.kinds else []
        if "heatmaps" not in self.kinds:
            return masks
        self.landmarks = find_landmarks_68(root) or find_landmarks_68(f"{root}/../..")
        return [*masks, self.landmarks]
