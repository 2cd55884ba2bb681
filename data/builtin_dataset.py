"""The faces that the project draws (data/drawn/builtin_faces.py), with priors that are exact."""
from data.celebamask_dataset import CelebAMaskDataset
from data.face_parts import POINTS_68
from data.landmark_files import FILES_68, find_landmarks_68


class BuiltinDataset(CelebAMaskDataset):
    """11 parsing maps from the faces' masks and, where --priors says so, 68 heatmaps before them.

    So it also reads CelebAMask-HQ's faces with a file of landmarks beside their folders.
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
