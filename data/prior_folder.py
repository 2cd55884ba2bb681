# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""What the datasets with facial priors share: priors that follow the crop and the flip, and a look at who has any."""
import os
from typing import NamedTuple

import cv2
import numpy as np

from data.augment import FLIP, fixed_box
from data.face_parts import FACE_PARTS
from data.pair_folder import PairFolder
from data.priors import draw_parts, heatmaps, mirror_points, move_points
from utils.errors import UserError
from utils.images import BadImage, centre_square, resize

PRIORS = {"heatmaps": ("heatmaps",), "parsing": ("parsing",), "both": ("heatmaps", "parsing"), "none": ()}
NAMED = 3  # faces without annotation that a warning names


class View(NamedTuple):
    """The part of an image that a sample shows.

    size: (width, height) of the whole image. box: (left, top, right, bottom) in its pixels, may be fractional.
    """
    size: tuple
    box: tuple
    mirrored: bool


def annotated(paths, annotations, layouts):
    """Returns (FileList of the `paths` that all annotations contain, warnings that name the others).

    annotations: each has `key(path)`, the image's name in it or None; None stands for a missing annotation. layouts:
    the searched files, for the error. Raises UserError if no image is annotated, or if two share an annotation.
    """
    having = np.full(len(paths), None not in annotations)
    for annotation in annotations if having.any() else ():
        seen = {}
        for i, path in enumerate(paths):
            key = annotation.key(path)
            having[i] &= key is not None
            if having[i] and seen.setdefault(key, i) != i:
                raise UserError(f"{paths[seen[key]]} and {path} have one annotation between them ({key}): name "
                                f"pictures differently, or annotate them with their folders.")
    if not having.any():
        raise UserError(f"none of the {len(paths)} pictures below {paths.root} is annotated. Looked for {layouts}. "
                        f"(--dataset_name celeba takes faces without annotation; FSRNet then wants --lambda_prior 0.)")
    missing = np.flatnonzero(~having)
    if not len(missing):
        return paths, []
    named = ", ".join(os.path.relpath(paths[i], paths.root) for i in missing[:NAMED])
    return paths.at(np.flatnonzero(having)), [
        f"{len(missing)} of {len(paths)} pictures below {paths.root} have no annotation that can be used and are left "
        f"out: {named}{', ...' if len(missing) > NAMED else ''}"]


class PriorFolder(PairFolder):
    """Samples {'lr', 'hr', 'priors'}: lr and hr uint8 HWC RGB, load_size square; priors uint8 [S, S, C], S half of it.

    The C maps are 255 at a heatmap's peak and inside a part, 0 outside: heatmaps first, then parsing maps, as
    `prior_names` tells. All of a sample follows one box and one flip, which also exchanges left and right.
    paths: a FileList, as list_faces returns it; faces without annotation are dropped and listed in `warnings`.
    priors: 'heatmaps', 'parsing', 'both', 'none' (samples are {'lr', 'hr'}; no annotation is looked for unless the
    faces are cropped by it); None: default_priors.
    augmentation: 'fixed' (flip 0.5, the crop of data/celeba_dataset.py), 'none', or 'upstream', which is what the
    public code of FSRNet does: the picture is squashed to a square, and neither flipped nor cropped.

    A subclass has open_annotations, and where it does not draw everything from landmarks, `parsing`.
    """

    takes_priors = True
    point_set = None  # of the landmarks that heatmaps are drawn from (data/priors.py); None: there are no heatmaps
    parsing_names = FACE_PARTS
    default_priors = "both"
    crops_by_landmarks = False
    layouts = ""  # what was looked for, in words

    def __init__(self, paths, load_size, scale_factor, augmentation="none", priors=None, **options):
        super().__init__(paths, load_size, scale_factor, **options)
        self.augmentation = augmentation
        self.kinds = self.prior_kinds(priors)
        self.needed = None  # annotations are in the image's own pixels
        if self.kinds or self.crops_by_landmarks:
            self.paths, unused = annotated(paths, self.open_annotations(paths.root), self.layouts)
            self.warnings += unused
        cv2.setNumThreads(1)  # there are many workers

    @classmethod
    def prior_kinds(cls, priors=None):
        """('heatmaps', 'parsing'), as far as wanted; UserError for heatmaps where there are no landmarks."""
        kinds = PRIORS[priors or cls.default_priors]
        if "heatmaps" in kinds and cls.point_set is None:
            raise UserError(f"--priors {priors}: this dataset has parsing maps only, no landmarks for heatmaps.")
        return kinds

    @classmethod
    def prior_names(cls, priors=None):
        """The names of a sample's C maps, in order."""
        heatmap_count, parsing_count = cls.prior_counts(priors)
        return [f"point {i}" for i in range(heatmap_count)] + list(cls.parsing_names[:parsing_count])

    @classmethod
    def prior_counts(cls, priors=None):
        """(heatmaps, parsing maps) among a sample's C maps."""
        kinds = cls.prior_kinds(priors)
        return (cls.point_set.count if "heatmaps" in kinds else 0,
                len(cls.parsing_names) if "parsing" in kinds else 0)

    def open_annotations(self, root):
        """Open what self.kinds need, for the faces below `root`: a list of annotations, None for one that is missing.

        Each has `key(path)`, see `annotated`. Landmarks are kept as self.landmarks, too.
        """
        raise NotImplementedError

    def square(self, path, size):
        """The square box that is the face, of a picture of (width, height) `size`."""
        return centre_square(size)

    def upstream_box(self, path, size):
        """The box that the public code takes and squashes."""
        return 0, 0, *size

    def draw_view(self, path, size, rng):
        if self.augmentation == "upstream":
            return View(size, self.upstream_box(path, size), False)
        square = self.square(path, size)
        if self.augmentation == "none":
            return View(size, square, False)
        mirrored = rng.random() < FLIP
        return View(size, fixed_box(square, self.load_size, rng), mirrored)

    def make_sample(self, image, rng, path):
        view = self.draw_view(path, image.size, rng)
        face = resize(image, self.face_size, view.box)
        if view.mirrored:
            face = face.transpose(0)  # left to right
        sample = self.pair(np.asarray(face), rng)
        if self.kinds:
            sample["priors"] = np.concatenate([getattr(self, kind)(path, view) for kind in self.kinds], axis=2)
        return sample

    def landmarks_within(self, path, size):
        """The landmarks of a picture of (width, height) `size`; BadImage where those within it make no face."""
        points = self.landmarks.of(path)
        inside = points[((points > -1) & (points < size)).all(1)]
        if not len(inside) or np.ptp(inside, axis=0).min() < 1:
            raise BadImage(path, f"its landmarks make no face within its {size[0]}x{size[1]} pixels: are they of a "
                                 f"picture of another size?")
        return points

    def points(self, path, view):
        """The landmarks of a view, in pixels of its maps."""
        size = self.load_size // 2
        points = move_points(self.landmarks_within(path, view.size), view.box, size)
        return mirror_points(points, size, self.point_set.mirror) if view.mirrored else points

    def heatmaps(self, path, view):
        return heatmaps(self.points(path, view), self.load_size // 2)

    def parsing(self, path, view):
        return draw_parts(self.points(path, view), self.load_size // 2, self.point_set)
