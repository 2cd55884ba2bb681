# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The faces of a calibration or an evaluation, read one by one: inputs of a network, and references where given."""
from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from data import accepted, find_dataset, input_reader
from data.face_folder import FaceFolder, Place
from deploy.arrays import read_array, read_list
from restore.description import Description
from utils.errors import UserError
from utils.images import BadImage, Skipped, to_tensor_range
from utils.names import printable


class Faces(Sequence):
    """float32 [1, 3, S, S], RGB, -1 (black) to 1 (white): the inputs of a network, read anew at each access.

    names: the faces' files.
    """

    names: list[str]
    has_references = False

    def __len__(self) -> int:
        return len(self.names)

    def reference(self, place: int) -> np.ndarray:
        """Returns what the face should look like, uint8 [S, S, 3], RGB."""
        raise ValueError("these faces have no references.")


class FolderFaces(Faces):
    """Faces of a folder, as a dataset of newtest.py gives them.

    Every face is read once at the start: those that cannot be read go to `skipped` and are left out.
    """

    def __init__(self, dataset: FaceFolder, has_references: bool, skipped: Skipped) -> None:
        self._dataset, self._places, self.has_references = dataset, list(range(len(dataset.paths))), has_references
        readable = []
        for place in self._places:
            try:
                self._sample(place)
                readable.append(place)
            except BadImage as error:
                skipped.add(error)
        self._places, self.names = readable, [dataset.paths[place] for place in readable]

    def _sample(self, place):
        sample = self._dataset[Place(0, self._places[place])]
        if "lr" not in sample or sample.get("unscored"):
            raise BadImage(*sample["notes"][-1][1:])
        return sample

    def __getitem__(self, place: int) -> np.ndarray:
        if not 0 <= place < len(self):
            raise IndexError(place)
        return np.ascontiguousarray(to_tensor_range(torch.tensor(self._sample(place)["lr"])[None]).numpy())

    def reference(self, place: int) -> np.ndarray:
        return self._sample(place)["hr"] if self.has_references else super().reference(place)


class ArrayFaces(Faces):
    """Faces of files of arrays (deploy/arrays.py). Files that cannot be read go to `skipped` and are left out."""

    def __init__(self, paths: Sequence[str], size: int, skipped: Skipped) -> None:
        self.names, self._size = [], size
        for path in paths:
            try:
                read_array(path, size)
                self.names.append(path)
            except BadImage as error:
                skipped.add(error)

    def __getitem__(self, place: int) -> np.ndarray:
        return read_array(self.names[place], self._size)


def evenly(count: int, available: int) -> np.ndarray:
    """Returns the places of `count` of the files, or of all if there are fewer, evenly spaced from first to last."""
    return np.unique(np.linspace(0, available - 1, min(count, available)).round().astype(int))


def faces_of(folder: str | os.PathLike, option: str, described: Description, count: int, skipped: Skipped,
             fewest: int = 1) -> Faces:
    """Returns `count` evenly spaced faces of a folder of clean faces: references, and inputs degraded as in training.

    folder: or a list (.txt) of arrays (deploy/arrays.py), which have no references. option: its name, for messages.
    skipped: gets the images that cannot be read. fewest: number of faces that are needed. Raises UserError if there are
    fewer, or no folder.
    """
    if os.path.isfile(folder) and Path(folder).suffix == ".txt":
        paths = read_list(folder, option)
        _check_number(len(paths), fewest, option, folder)
        arrays = ArrayFaces([paths[i] for i in evenly(count, len(paths))], described.input_size, skipped)
        _check_number(len(arrays), fewest, option, folder, "faces that can be read")
        return arrays
    dataset = find_dataset(described.task)
    paths = dataset.list_faces(folder, option)
    _check_number(len(paths), fewest, option, folder)
    if not dataset.trains:
        return inputs_of(folder, option, described, count, skipped, fewest)
    arguments = accepted(dataset, load_size=described.input_size, scale_factor=described.scale_factor,
                         degradation=described.degradation, augmentation="none", priors="none", on_bad_image="stop")
    found = FolderFaces(dataset(paths.at(evenly(count, len(paths))), **arguments), True, skipped)
    _check_number(len(found), fewest, option, folder, "faces that can be read")
    return found


def inputs_of(folder: str | os.PathLike, option: str, described: Description, count: int, skipped: Skipped,
              fewest: int = 1, references: str | os.PathLike | None = None) -> Faces:
    """Returns faces of a folder of degraded inputs, as faces_of.

    references: folder of the images that they should become.
    """
    reader = input_reader(described.task, described.degradation)
    paths = reader.list_faces(folder, option)
    paired = find_dataset(described.task).list_faces(references, "--gtroot") if references else None
    found = FolderFaces(reader(paths.at(evenly(count, len(paths))), load_size=described.input_size, references=paired,
                               trained_side=described.trained_side(), on_bad_image="stop"), bool(paired), skipped)
    _check_number(len(found), fewest, option, folder, "faces that can be read")
    return found


def _check_number(found: int, fewest: int, option: str, folder: str | os.PathLike, what: str = "faces") -> None:
    if found < fewest:
        raise UserError(f"{option}: {printable(folder)} has {found} {what}; {fewest} or more are needed.")
