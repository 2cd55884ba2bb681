# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Files of torch.save: what may be unpickled from them, and whether the zip archive is damaged."""
from __future__ import annotations

import argparse
import os
import zipfile

import numpy as np

from utils.errors import first_line

EXPANSION = 4  # torch.save does not compress: an archive that expands more than this is no checkpoint

# What a checkpoint may hold beside tensors and plain containers: numpy's numbers and arrays, and parsed options. They
# run no code. numpy 1 and 2 write different module names.
_MULTIARRAY = np._core.multiarray
HARMLESS = [argparse.Namespace, np.dtype, np.ndarray,
            *(kind for kind in vars(np.dtypes).values() if isinstance(kind, type)),
            *((getattr(_MULTIARRAY, name), f"numpy.{package}.multiarray.{name}")
              for name in ("scalar", "_reconstruct") for package in ("core", "_core"))]


def find_damage(path: str | os.PathLike) -> str | None:
    """Returns why the checkpoint at `path` is damaged, or None. It checks the zip structure and checksums."""
    try:
        with zipfile.ZipFile(path) as archive:
            expanded = sum(entry.file_size for entry in archive.infolist())
            if expanded > EXPANSION * os.path.getsize(path):
                return f"its entries claim {expanded:,} bytes"
            broken = archive.testzip()
    except Exception as error:  # a damaged header may name unknown methods, encryption or odd names
        return first_line(error)
    return f"the checksum of {broken} is wrong" if broken else None
