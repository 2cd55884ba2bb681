# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Helen: faces in large photographs, with 194 landmarks each (Le et al., ECCV 2012)."""
from data.face_parts import POINTS_194
from data.landmark_files import find_helen
from data.prior_folder import PriorFolder

FACE_SHARE = 0.5  # landmarks' extent / the square's side, as in the public code and about as in CelebA


class HelenDataset(PriorFolder):
    """194 heatmaps and 9 parsing maps (data/face_parts.py: FACE_PARTS), both drawn from the landmarks.

    The crop is a square of twice the landmarks' larger extent, shrunk and moved to lie within the photograph.
    The 'upstream' crop is twice the landmarks' width by twice their height, centred on their mean; it is resized to a
    square, which changes its aspect ratio.
    """

    point_set = POINTS_194
    crops_by_landmarks = True
    layouts = "annotation/*.txt in this folder or beside it: an image's name, then 194 lines of `x , y`"

    def open_annotations(self, root):
        self.landmarks = find_helen(root)
        return [self.landmarks]

    def square(self, path, size):
        points = self.landmarks_within(path, size)
        low, high = points.min(0), points.max(0)
        side = min(float((high - low).max()) / FACE_SHARE, *size)
        left, top = (min(max((a + b + 1 - side) / 2, 0), whole - side)
                     for a, b, whole in zip(low.tolist(), high.tolist(), size, strict=True))
        return left, top, left + side, top + side

    def upstream_box(self, path, size):
        points = self.landmarks_within(path, size)
        centre, extent = points.mean(0), points.max(0) - points.min(0)
        left, top = (max(0, int(edge)) for edge in centre - extent)
        right, bottom = (min(int(edge), whole) for edge, whole in zip(centre + extent, size, strict=True))
        return left, top, right, bottom
