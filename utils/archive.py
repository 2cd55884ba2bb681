"""Checks zip archives, the format of torch.save, for damage."""
from __future__ import annotations

import os
import zipfile

from utils.errors import first_line

EXPANSION = 4  # torch.save does not compress: an archive that expands more than this is no checkpoint


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
