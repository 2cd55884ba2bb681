"""Files of landmarks: whose face has which points. 68 of them in a CSV or .npz file, Helen's 194 in text files."""
import csv
import os
import zipfile
import zlib
from pathlib import Path

import numpy as np

from utils.errors import UserError
from utils.images import EXTENSIONS

FILES_68 = ("landmarks68.csv", "landmarks68.npz", "landmarks.csv", "landmarks.npz")
COLUMNS = [f"{axis}{point}" for point in range(68) for axis in "xy"]
POINTS_OF_HELEN = 194
MAX_DISAGREEMENT = 10  # pixels between two detectors; beyond, neither of them is trusted


class LandmarkTable:
    """Landmarks by picture, from the file or folder `source`.

    names: of the pictures, with or without extension and folders. points: [N, L, 2], (x, y) in pixels of the
    picture, pixel centres at whole numbers. splits: for each name the folder that its picture lies in, at whatever
    depth, or None. Rows that are not numbers count as missing. UserError for two rows of one picture.
    """

    def __init__(self, source, names, points, splits=None):
        self.source = str(source)
        self.base = Path(os.path.abspath(source)).parent.parent  # a split may be the name of the source's own folder
        keys = [without_extension(name) for name in names]
        if splits is not None:
            keys = [f"{split}/{key}" for split, key in zip(splits, keys, strict=True)]
        self.rows = {key: row for row, key in enumerate(keys)}
        if len(self.rows) < len(keys):
            twice = next(key for row, key in enumerate(keys) if self.rows[key] != row)
            raise UserError(f"{source}: there are two rows for {twice}: remove one of them.")
        self.points_of_row = np.asarray(points, np.float32)
        for key, is_known in zip(keys, np.isfinite(self.points_of_row).all((1, 2)), strict=True):
            if not is_known:
                del self.rows[key]

    def key(self, path):
        """What the picture at `path` is called here, with as many of its folders as are named; None: it is not here."""
        *folders, name = without_extension(os.path.relpath(os.path.abspath(path), self.base)).split(os.sep)
        for start in range(len(folders) + 1):
            key = "/".join([*folders[start:], name])
            if key in self.rows:
                return key
        return next((key for key in (f"{folder}/{name}" for folder in reversed(folders)) if key in self.rows), None)

    def of(self, path):
        """float32 [L, 2]: the points of a picture that has some."""
        return self.points_of_row[self.rows[self.key(path)]]


def without_extension(name):
    """'a/b' of 'a/b.jpg'; other dots stay ('mr.b')."""
    stem, extension = os.path.splitext(name)
    return stem if extension.lower() in EXTENSIONS else name


def find_landmarks_68(folder):
    """The LandmarkTable of the first of FILES_68 in `folder` or its parent, None where there is none."""
    for place in (Path(folder), Path(folder).absolute().parent):
        for name in FILES_68:
            if (place / name).is_file():
                return (read_csv if name.endswith(".csv") else read_npz)(place / name)
    return None


def read_csv(path):
    """A CSV file with the columns file (or name), x0, y0, x1 .. y67 and, if it has it, split; others are passed over.

    UserError where columns are missing or values are not numbers; 'nan' is one.
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
            for row in filter(None, rows):  # blank lines are passed over
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
    """A .npz file with the arrays name [N] and landmarks [N, 68, 2], or landmarks_x10 in tenths of a pixel.

    If it has them: split [N], and max_disagreement_px [N], whose rows above 10 are dropped: two detectors, of which
    at least one is wrong. UserError where arrays are missing or of another shape.
    """
    try:
        with np.load(path) as file:  # a single array is no context: TypeError, before Python 3.11 AttributeError
            arrays = dict(file)
        points = np.asarray(arrays["landmarks"] if "landmarks" in arrays else arrays["landmarks_x10"], np.float32)
        names = arrays["name"].astype(str)
    except KeyError:
        names, points = np.empty(0), np.empty(0)
    except (OSError, ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    if "landmarks" not in arrays:
        points = points / 10
    disagreement = arrays.get("max_disagreement_px", np.zeros(names.shape))
    splits = arrays.get("split", names)
    if names.ndim != 1 or points.shape != (*names.shape, 68, 2) or not (
            disagreement.shape == splits.shape == names.shape):
        raise UserError(f"{path}: the arrays name [N] and landmarks [N, 68, 2] (or landmarks_x10) are needed, and "
                        f"split [N] and max_disagreement_px [N] if they are there.")
    kept = disagreement <= MAX_DISAGREEMENT
    return LandmarkTable(path, names[kept].tolist(), points[kept],
                         splits.astype(str)[kept].tolist() if "split" in arrays else None)


def find_helen(folder):
    """The LandmarkTable of Helen's files, in `folder`/annotation or beside the folder; None where there are none."""
    for place in (Path(folder), Path(folder).absolute().parent):
        files = sorted((place / "annotation").glob("*.txt"))
        if files:
            break
    else:
        return None
    names, points = zip(*map(read_helen, files), strict=True)
    return LandmarkTable(place / "annotation" / "*.txt", names, points)


def read_helen(path):
    """(the picture's name, float32 [194, 2]) of one of Helen's text files.

    The picture's name is the first line, 194 lines of `x , y` follow. UserError names the line that is different.
    """
    mend = "Mend the file, or remove it: its picture is then left out."
    try:
        name, *lines = path.read_text(encoding="utf-8", errors="replace").rstrip().split("\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}. {mend}") from None
    points = []
    for number, line in enumerate(lines, 2):
        try:
            x, y = map(float, line.replace(",", " ").split())
        except ValueError:
            raise UserError(f"{path}, line {number}: `x , y` is expected, not {line.strip()[:40]!r}. {mend}") from None
        points.append((x, y))
    if len(points) != POINTS_OF_HELEN:
        raise UserError(f"{path}: after the picture's name {POINTS_OF_HELEN} lines of `x , y` are expected, not "
                        f"{len(points)}. {mend}")
    return name.strip(), np.array(points, np.float32)
