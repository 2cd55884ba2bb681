# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Landmark files: 68 points per image in a CSV or .npz file, Helen's 194 points in text files."""
import csv
import os
from pathlib import Path

import numpy as np

from utils.errors import UserError, first_line
from utils.file_list import find_files
from utils.images import EXTENSIONS
from utils.names import normalised

FILES_68 = ("landmarks68.csv", "landmarks68.npz", "landmarks.csv", "landmarks.npz")
COLUMNS = [f"{axis}{point}" for point in range(68) for axis in "xy"]
POINTS_OF_HELEN = 194
MAX_DISAGREEMENT = 10  # pixels between two detectors; rows above it are dropped


class LandmarkTable:
    """Landmarks per image, from the file or folder `source`.

    names: image names, with or without extension and folders. points: [N, L, 2], (x, y) in pixels of the image, pixel
    centres at whole numbers. splits: per name, a folder at any depth above the image, or None. Rows with non-finite
    values count as missing. Names are compared in Unicode's composed form. Raises UserError if an image has two rows.
    """

    def __init__(self, source, names, points, splits=None):
        self.source = str(source)
        # Two levels up: a split may be the name of the source's own folder.
        self.base = Path(os.path.abspath(source)).parent.parent
        keys = [normalised(without_extension(name)) for name in names]
        if splits is not None:
            keys = [f"{normalised(split)}/{key}" for split, key in zip(splits, keys, strict=True)]
        self.rows = {key: row for row, key in enumerate(keys)}
        if len(self.rows) < len(keys):
            twice = next(key for row, key in enumerate(keys) if self.rows[key] != row)
            raise UserError(f"{source}: there are two rows for {twice}: remove one of them.")
        self.points_of_row = np.asarray(points, np.float32)
        for key, is_known in zip(keys, np.isfinite(self.points_of_row).all((1, 2)), strict=True):
            if not is_known:
                del self.rows[key]

    def key(self, path):
        """Returns the table's key of the image at `path`, the one with the most folders; None if it has no row."""
        relative = normalised(os.path.relpath(os.path.abspath(path), self.base))
        *folders, name = without_extension(relative).split(os.sep)
        for start in range(len(folders) + 1):
            key = "/".join([*folders[start:], name])
            if key in self.rows:
                return key
        return next((key for key in (f"{folder}/{name}" for folder in reversed(folders)) if key in self.rows), None)

    def of(self, path):
        """Returns float32 [L, 2], the points of the image at `path`, which must have a row."""
        return self.points_of_row[self.rows[self.key(path)]]


def five_points(landmarks):
    """Returns [5, 2] of 68 points: middles of the eyes, nose tip, corners of the mouth, the image's left first."""
    return np.stack([landmarks[36:42].mean(0), landmarks[42:48].mean(0), landmarks[30], landmarks[48], landmarks[54]])


def without_extension(name):
    """Returns `name` without an image extension: 'a/b.jpg' becomes 'a/b'; 'mr.b' is unchanged."""
    stem, extension = os.path.splitext(name)
    return stem if extension.lower() in EXTENSIONS else name


def find_landmarks_68(folder):
    """Returns the LandmarkTable of the first of FILES_68 in `folder` or its parent, or None."""
    for place in (Path(folder), Path(folder).absolute().parent):
        for name in FILES_68:
            if (place / name).is_file():
                return (read_csv if name.endswith(".csv") else read_npz)(place / name)
    return None


def read_csv(path):
    """Reads a CSV file with the columns file (or name), x0, y0, x1 .. y67 and optionally split into a LandmarkTable.

    Other columns and blank lines are ignored. Raises UserError if columns are missing or values are not numbers;
    'nan' is accepted.
    """
    names, splits, points = [], [], []
    try:
        with open(path, newline="", encoding="utf-8-sig", errors="replace") as stream:
            rows = csv.reader(stream)
            header = next(rows, [])
            place = {column: i for i, column in enumerate(header)}
            name = place.get("file", place.get("name"))
            if name is None or not place.keys() >= set(COLUMNS):
                raise UserError(f"{path}: the columns file (or name), x0, y0, x1, y1 .. x67, y67 are needed.")
            places = [place[column] for column in COLUMNS]
            for row in filter(None, rows):  # skips blank lines
                try:
                    points.append(np.array([row[i] for i in places], np.float32))
                    names.append(row[name].strip())
                    splits.append(row[place["split"]].strip() if "split" in place else None)
                except (ValueError, IndexError):
                    raise UserError(f"{path}, line {rows.line_num}: 68 pairs of numbers are expected, and a value for "
                                    f"each of the header's columns.") from None
    except (OSError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read: {error}.") from None
    return LandmarkTable(path, names, np.reshape(points, (-1, 68, 2)), splits if "split" in place else None)


def read_npz(path):
    """Reads a .npz file with name [N] and landmarks [N, 68, 2] (or landmarks_x10, 0.1 pixels) into a LandmarkTable.

    Optional arrays: split [N]; max_disagreement_px [N], the distance between two detectors. Rows above
    MAX_DISAGREEMENT are dropped, because at least one detector is wrong. Raises UserError if arrays are missing or
    have an invalid shape.
    """
    try:
        with np.load(path) as file:  # a .npy array is no context manager
            arrays = dict(file)
        points = np.asarray(arrays["landmarks"] if "landmarks" in arrays else arrays["landmarks_x10"], np.float32)
        names = arrays["name"].astype(str)
    except KeyError:
        names, points = np.empty(0), np.empty(0)
    except Exception as error:  # a corrupted file may raise almost anything in numpy and zipfile
        raise UserError(f"{path}: cannot be read: {first_line(error)}") from None
    if "landmarks" not in arrays:
        points = points / 10
    disagreement = arrays.get("max_disagreement_px", np.zeros(names.shape))
    splits = arrays.get("split", names)
    if names.ndim != 1 or points.shape != (*names.shape, 68, 2) or not (
            disagreement.shape == splits.shape == names.shape):
        raise UserError(f"{path}: the arrays name [N] and landmarks [N, 68, 2] (or landmarks_x10) are needed; "
                        f"split [N] and max_disagreement_px [N] are optional.")
    kept = disagreement <= MAX_DISAGREEMENT
    return LandmarkTable(path, names[kept].tolist(), points[kept],
                         splits.astype(str)[kept].tolist() if "split" in arrays else None)


def find_helen(folder):
    """Returns the LandmarkTable of Helen's files in annotation/, in `folder` or its parent, or None."""
    for place in (Path(folder), Path(folder).absolute().parent):
        annotation = place / "annotation"
        files = find_files(str(annotation), {".txt"}, "landmarks") if annotation.is_dir() else ()
        if files:
            break
    else:
        return None
    names, points = zip(*map(read_helen, map(Path, files)), strict=True)
    return LandmarkTable(annotation / "*.txt", names, points)


def read_helen(path):
    """Reads one of Helen's text files: the image's name, then 194 lines of `x , y`.

    Returns (image name, float32 [194, 2]). Raises UserError, naming the invalid line, for any other content.
    """
    advice = "Fix the file, or remove it to skip its image."
    try:
        name, *lines = path.read_text(encoding="utf-8", errors="replace").rstrip().split("\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}. {advice}") from None
    points = []
    for number, line in enumerate(lines, 2):
        try:
            x, y = map(float, line.replace(",", " ").split())
        except ValueError:
            raise UserError(f"{path}, line {number}: `x , y` is expected, not {line.strip()[:40]!r}. "
                            f"{advice}") from None
        points.append((x, y))
    if len(points) != POINTS_OF_HELEN:
        raise UserError(f"{path}: after the image's name {POINTS_OF_HELEN} lines of `x , y` are expected, not "
                        f"{len(points)}. {advice}")
    return name.strip(), np.array(points, np.float32)
