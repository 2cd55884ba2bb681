# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Faces in files of arrays, as tools/write_npz.py and other runtimes write them, and lists of such files."""
from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from utils.errors import UserError, first_line, shown
from utils.files import check_regular_file, read_regular_file
from utils.images import BadImage

LARGEST_LIST = 2 ** 28  # bytes
LARGEST_VALUE, LARGEST_HEADER = 16, 2 ** 16  # bytes, of a number and of what surrounds an array in its file


def read_array(path: str | os.PathLike, size: int) -> np.ndarray:
    """Returns the one array of an .npz, .npy or .bin file, float32 [1, 3, size, size].

    Raises BadImage for a file that is missing, damaged, holds several arrays, or an array of another shape or type.
    """
    try:
        check_regular_file(path, LARGEST_VALUE * 3 * size * size + LARGEST_HEADER)
        array = _load(Path(path), size)
    except BadImage:
        raise
    except MemoryError:
        raise BadImage(path, "it does not fit into memory") from None
    except Exception as error:  # a corrupted archive may raise almost anything, e.g. zlib.error, KeyError
        raise BadImage(path, f"it cannot be read: {first_line(error)}") from None
    if array.dtype.kind != "f" or array.shape not in ((1, 3, size, size), (3, size, size)):
        raise BadImage(path, f"it is {array.dtype} {list(array.shape)}; floats of the shape [1, 3, {size}, {size}] are "
                             f"needed")
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise BadImage(path, "it holds values that are not finite in float32")
    return array.reshape(1, 3, size, size)


def _load(path, size):
    """Returns the numpy array of a file, whatever its shape; the content decides between .npy and .npz."""
    if path.suffix == ".bin":
        array = np.fromfile(path, np.float32)
        return array.reshape(1, 3, size, size) if array.size == 3 * size * size else array
    loaded = np.load(path, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        return loaded
    with loaded as file:
        if len(file.files) != 1:
            raise BadImage(path, f"it holds {len(file.files)} arrays ({shown(', '.join(file.files))}); one is needed")
        array = file[file.files[0]]
    if not isinstance(array, np.ndarray):
        raise BadImage(path, f"{shown(file.files[0])} in it is no array")
    return array


def read_list(path: str | os.PathLike, option: str) -> list[str]:
    """Returns the paths that a list names, one per line, relative to the list's folder. UserError if it names none."""
    text = read_regular_file(path, LARGEST_LIST).decode("utf-8", "surrogateescape")
    names = [line.strip() for line in text.split("\n") if line.strip()]
    if not names:
        raise UserError(f"{option}: {shown(path, 300)} names no file.")
    if "\0" in text:
        raise UserError(f"{option}: {shown(path, 300)} is no list of files, one path per line.")
    return [os.path.join(Path(path).parent, name) for name in names]
