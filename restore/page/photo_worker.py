# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Restores one uploaded photo, from the bytes of its file to those of the restored one."""
from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
from PIL import Image

from restore.bit_depth import eight_bits
from restore.face_finder import ALL_ANGLES, FaceFinder
from restore.page.limits import Limits
from restore.page.refusal import Refusal
from restore.page.settings import Settings
from restore.photo import FoundFace, PhotoRestorer
from restore.photo_file import Photo, read_photo, write_photo
from restore.restorer import Restorer
from utils.images import BadImage, opened

PREVIEW = 2000  # pixels: longer side of what the page shows
PREVIEW_QUALITY = 92  # of JPEG
STAGES = ("reading", "finding", "restoring", "writing")

Enter = Callable[[str], None]  # is told each of STAGES as it begins; may raise to end the work there


class Restoring(Protocol):
    """Restores the faces of a photo: (pixels, settings, enter) -> (pixels, faces); tells `enter` two of STAGES."""

    def __call__(self, pixels: np.ndarray, settings: Settings, enter: Enter) -> tuple[np.ndarray, Sequence[FoundFace]]:
        ...


class PhotoWorker:
    """Restoring by networks on one device. One photo at a time."""

    def __init__(self, restorers: Mapping[str, Restorer]) -> None:
        self._restorers, self._finder = restorers, FaceFinder()

    def __call__(self, pixels: np.ndarray, settings: Settings, enter: Enter) -> tuple[np.ndarray, list[FoundFace]]:
        def find(picture):
            enter("finding")
            faces = self._finder(picture, angles=ALL_ANGLES if settings.angles == "all" else (0,), doubtful=True)
            enter("restoring")
            return faces
        return PhotoRestorer(self._restorers, upscale=settings.upscale, paste=settings.paste,
                             fidelity=settings.fidelity, which=settings.faces, finder=find)(pixels)


class Result(NamedTuple):
    """content: of the restored photo's file. suffix: what its name gets, see restore/photo_file.py.

    report: what was done, for JSON. before, after: JPEG files for the page, or None.
    """
    content: bytes
    suffix: str
    report: dict[str, Any]
    before: bytes | None
    after: bytes | None

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return len(self.content) + len(self.before or b"") + len(self.after or b"")


def restore_file(content: bytes, settings: Settings, restore: Restoring, enter: Enter, limits: Limits,
                 previews: bool) -> Result:
    """Returns the restored photo. A photo without a restored face is given back byte by byte, unless it is enlarged.

    Raises Refusal, before anything is decoded, for a photo of too many pixels, and for what cannot be read or written.
    """
    enter("reading")
    try:
        photo = _read(content, settings, limits)
        pixels, faces = restore(photo.pixels, settings, enter)
        enter("writing")
        restored = sum(face.crop is not None for face in faces)
        changed = bool(restored) or settings.upscale > 1
        if changed:
            file = io.BytesIO()
            write_photo(photo, pixels, file)
            written = file.getvalue()
        else:
            written = content
        before, after = (_preview(photo, picture) if previews else None for picture in (photo.pixels, pixels))
    except BadImage as error:
        raise Refusal("bad_photo", reason=error.reason) from None
    except MemoryError:
        raise Refusal("no_memory") from None
    height, width = photo.pixels.shape[:2]
    report = {"width": width, "height": height, "result_width": pixels.shape[1], "result_height": pixels.shape[0],
              "settings": settings._asdict(), "notes": photo.notes if changed else (), "restored": restored,
              "faces": [{**face.record(), "restored": face.crop is not None} for face in faces]}
    return Result(written, photo.suffix if changed else "", report, before, after)


def _read(content: bytes, settings: Settings, limits: Limits) -> Photo:
    with opened(io.BytesIO(content)) as image:
        pixels = image.width * image.height * settings.upscale ** 2
    if pixels > limits.pixels:
        raise Refusal("large_photo", megapixels=round(pixels / 1e6, 1), most=round(limits.pixels / 1e6, 1))
    return read_photo(io.BytesIO(content))


def _preview(photo: Photo, pixels: np.ndarray) -> bytes:
    """Returns a JPEG file of `pixels`, reduced to PREVIEW at most, transparent parts over white."""
    height, width = pixels.shape[:2]
    scale = min(1.0, PREVIEW / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if scale < 1 else pixels
    picture = Image.fromarray(eight_bits(small))
    if photo.alpha is not None:
        alpha = Image.fromarray(eight_bits(photo.alpha)).resize(size, Image.Resampling.BILINEAR)
        picture = Image.composite(picture, Image.new("RGB", size, "white"), alpha)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=PREVIEW_QUALITY, subsampling=0)
    return file.getvalue()
