# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Restores the faces in a photo: finds, cuts, restores and pastes them. What newphoto.py does for each file."""
from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from restore.alignment import crop_matrix, crop_scale, cut_face
from restore.background import Background
from restore.bit_depth import eight_bits
from restore.choice import misfit
from restore.description import Description
from restore.face_finder import SMALLEST_FACE, TRUST, Face, FaceFinder
from restore.paste_back import RestoredCrop, paste_back
from restore.restorer import Restorer
from utils.images import resize

ALIGNMENT = "celeba"  # of weights that do not say how their faces were aligned
COARSEST = 0.75  # crop pixels per photo pixel: a coarser crop would replace a sharper face by a smaller one
SMALLEST = 0.75  # of the smallest faces of the training
NEARLY = 1.1  # factor by which limits and the weights' sizes are wider for a face of a video that is being restored


class FoundFace(NamedTuple):
    """One face of a photo. skipped: why it stays as it is, or None; the other fields are None where it was not cut.

    side: of its crop, in the photo's pixels. crop: the RestoredCrop.
    """
    face: Face
    side: float | None = None
    weights: str | None = None
    skipped: str | None = None
    crop: RestoredCrop | None = None

    def record(self) -> dict[str, Any]:
        """Returns what a report says of it, for JSON."""
        return {"points": self.face.points.round(2).tolist(), "box": [round(value, 1) for value in self.face.box],
                "score": round(self.face.score, 4), "trust": round(self.face.trust, 4),
                "angle": round(self.face.angle, 1), "side": None if self.side is None else round(self.side, 1),
                "weights": self.weights, "skipped": self.skipped}


class PhotoRestorer:
    """Restores the faces of photos.

        restore = PhotoRestorer({"face128": Restorer.load("face128")})
        photo, faces = restore(pixels)

    restorers: {name of weights: Restorer}; of several, each face takes the one that was trained on its size.
    which: all, largest or centre. min_face, max_face: sides in the photo's pixels of the faces that are restored; None:
    those that the weights can improve. angles: of FaceFinder. finder: FaceFinder by default. background: enlarges the
    photo in place of PIL BICUBIC. Other arguments: see restore/paste_back.py.
    """

    def __init__(self, restorers: Mapping[str, Restorer], *, upscale: int = 1, paste: str = "delta",
                 fidelity: float = 0.0, which: str = "all", angles: Sequence[int] = (0,), min_face: float | None = None,
                 max_face: float | None = None, finder: Callable[[np.ndarray], Sequence[Face]] | None = None,
                 background: Background | None = None) -> None:
        self.restorers, self.upscale, self.paste, self.fidelity = restorers, upscale, paste, fidelity
        self.which, self.min_face, self.max_face, self.background = which, min_face, max_face, background
        self._described: dict[str, Description] = {name: r.description for name, r in restorers.items()}
        # A face's box is about half as long as the square that is cut around it.
        self._least = min(min_face / 2, SMALLEST_FACE) if min_face else None
        self._angles, self._given_finder = angles, finder
        self._free_finders: list[FaceFinder] = []

    def __call__(self, pixels: np.ndarray) -> tuple[np.ndarray, list[FoundFace]]:
        """Returns (the photo, its faces). With upscale 1 only faces are changed.

        pixels: uint8 or uint16 [H, W, 3], RGB, as the result. Faces are found and restored in 8 bits.
        """
        faces = self.restore(self.cut_faces(pixels))
        return self.paste_faces(pixels, faces), faces

    def cut_faces(self, pixels: np.ndarray) -> list[FoundFace]:
        """Returns the photo's faces, cut for `restore`. Several threads may call it at the same time."""
        pixels = eight_bits(pixels)
        faces = self.find(pixels, doubtful=True)
        sure = [face for face in faces if not face.doubtful]
        if self.which != "all" and sure:
            faces = [min(sure, key=lambda face: self.rank(face, pixels.shape))]
        return [self.cut(pixels, self.judge(face)) for face in faces]

    def restore(self, faces: Sequence[FoundFace]) -> list[FoundFace]:
        """Returns the faces, of one or of several photos, restored in batches of each restorer's size."""
        faces = list(faces)
        for name, restorer in self.restorers.items():
            places = [place for place, face in enumerate(faces) if face.crop and face.weights == name]
            restored = restorer.restore_inputs(restorer.prepare([self._seen(faces[place]) for place in places]))
            for place, image in zip(places, restored, strict=True):
                faces[place] = faces[place]._replace(crop=faces[place].crop._replace(restored=image))
        return faces

    def _seen(self, found):
        """Returns what the network gets of a face, uint8 [S, S, 3], RGB: its crop, or the crop at the size of the
        training's faces (utils/images.py: to_trained_side) if the photo has more detail than those had.
        """
        trained = self._described[found.weights].trained_side()
        if trained is None or found.side <= trained:
            return found.crop.aligned
        return np.asarray(resize(Image.fromarray(found.crop.aligned), trained))

    def paste_faces(self, pixels: np.ndarray, faces: Sequence[FoundFace],
                    progress: Callable[[int, int], None] | None = None) -> np.ndarray:
        """Returns the photo, enlarged by `upscale`, with its restored faces. Several threads may call it.

        progress: called while the background is enlarged (restore/background.py).
        """
        background = self.background(pixels, self.upscale, progress) if self.background else None
        return paste_back(pixels, [face.crop for face in faces if face.crop], self.upscale, self.paste,
                          self.fidelity, background)

    def find(self, pixels: np.ndarray, doubtful: bool = False) -> list[Face]:
        """Returns all faces of uint8 [H, W, 3]. doubtful: see FaceFinder. Several threads may call it."""
        if self._given_finder:
            return list(self._given_finder(pixels))
        with self._free_finder() as finder:
            return finder(pixels, angles=self._angles, min_face=self._least, doubtful=doubtful)

    def follow(self, pixels: np.ndarray, faces: Sequence[Face]) -> list[Face]:
        """Returns where the same faces are in the next picture of a video, see FaceFinder.follow."""
        with self._free_finder() as finder:
            return finder.follow(pixels, faces)

    @contextlib.contextmanager
    def _free_finder(self) -> Iterator[FaceFinder]:
        """Yields a FaceFinder that no other thread uses: it serves one at a time."""
        try:
            finder = self._free_finders.pop()
        except IndexError:
            finder = FaceFinder()
        try:
            yield finder
        finally:
            self._free_finders.append(finder)

    def rank(self, face: Face, shape: tuple[int, ...]) -> float:
        """Returns a number that is lowest for the face that `which` chooses, in a picture of this shape."""
        if self.which == "largest":
            return -face.eye_distance
        return float(np.linalg.norm(face.points.mean(0) - (shape[1] / 2, shape[0] / 2)))

    def judge(self, face: Face, kept: str | None = None) -> FoundFace:
        """Returns the FoundFace without a crop: its weights, or why it stays as it is.

        kept: weights with which the same face was restored a moment ago; they are kept while they nearly fit.
        """
        if face.doubtful:
            return FoundFace(face, skipped=f"not surely a face: trust {face.trust:.2f}, {TRUST:.2f} is needed")
        sides = {name: self._side(face, name) for name in self.restorers}
        if None in sides.values():
            return FoundFace(face, skipped="its points span no face")
        slack = {name: NEARLY if name == kept else 1.0 for name in sides}
        fitting = [name for name, side in sides.items() if self._reason(name, side, slack[name]) is None]

        def unfitness(name):  # each by its own side: the squares of two alignments around the same face differ
            apart, sizes = misfit(self._described[name], round(sides[name]))
            return apart > math.log(NEARLY) if name == kept else True, apart, sizes
        name = min(fitting or sides, key=unfitness)
        return FoundFace(face, sides[name], name, self._reason(name, sides[name], slack[name]))

    def cut(self, pixels: np.ndarray, found: FoundFace) -> FoundFace:
        """Returns what `judge` gave, with what the network gets in place of the restored crop. pixels: uint8."""
        if found.skipped:
            return found
        matrix = self._matrix(found.face, found.weights)
        aligned = cut_face(pixels, matrix, self._described[found.weights].input_size)
        return found._replace(crop=RestoredCrop(matrix, aligned, aligned))

    def _matrix(self, face, name):
        described = self._described[name]
        return crop_matrix(face.points, described.alignment or ALIGNMENT, described.input_size)

    def _side(self, face, name):
        matrix = self._matrix(face, name)
        return None if matrix is None else self._described[name].input_size / crop_scale(matrix)

    def _reason(self, name, side, slack=1.0):
        """Returns why a face of this side is left as it is with these weights, or None; slack widens the limits."""
        smallest, largest = self._described[name].trained_sides()
        least = smallest * SMALLEST if self.min_face is None else self.min_face
        most = largest / COARSEST if self.max_face is None else self.max_face
        if side * slack < least:
            return f"too small: {side:.1f} pixels, {least:.1f} are needed"
        if side > most * slack:
            return f"too large for these weights: {side:.0f} pixels, at most {most:.0f} are improved"
        return None
