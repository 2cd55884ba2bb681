# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Reads and writes whole photos; what is not the picture survives: format, EXIF, colour profile, alpha, resolution."""
from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, JpegImagePlugin, PngImagePlugin

from utils.errors import first_line
from utils.files import replacing
from utils.images import ORIENTATION, PARTS_OF_ONE, TURNED, UPRIGHT, BadImage, encode, opened

WRITES = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "TGA")  # others become PNG
ELSE_SUFFIX = ".png"  # that names of others get
# For formats whose files do not say how they were compressed: without loss, or with as little as they can.
BEST = {"WEBP": {"lossless": True, "exact": True}, "AVIF": {"quality": 100, "subsampling": "4:4:4"}}
TIFF_KEPT, TIFF_ELSE = ("raw", "packbits", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate"), "tiff_adobe_deflate"
KEPT = ("icc_profile", "dpi", "xmp")  # what Pillow reads into `info` and writes again under the same name
GREY = ("1", "L", "LA", "La")
# Tags of a TIFF file that describe the photo; the others describe how its pixels are stored. Description, maker, model,
# software, date, artist, copyright, EXIF, GPS.
DESCRIBING = (270, 271, 272, 305, 306, 315, 33432, 34665, 34853)


class Photo(NamedTuple):
    """pixels: uint8 [H, W, 3], RGB, upright. alpha: uint8 [H, W] or None. format: Pillow's name of what is written.

    suffix: that the file's name gets because its own format is not written, else "". grey: whether it is written
    without colour. options: Pillow's, for writing. notes: what will not survive.
    """
    pixels: np.ndarray
    alpha: np.ndarray | None
    format: str
    suffix: str
    grey: bool
    options: dict[str, Any]
    notes: tuple[str, ...]


def read_photo(path: str | Path) -> Photo:
    """Returns the photo at `path`. Raises BadImage for what cannot be read, and for what could only be kept in part.

    These are animations and files of several pages, and 16 bits per channel.
    """
    with opened(path) as image:
        if getattr(image, "n_frames", 1) > 1 and image.format not in PARTS_OF_ONE:
            raise BadImage(path, "it has several pages or frames: a photo has one")
        if _sixteen_bits(image):
            raise BadImage(path, "it has more than 8 bits per channel, which photos cannot keep yet: convert it first")
        image.load()
        kind, notes = "JPEG" if image.format == "MPO" else image.format, []
        options = {name: image.info[name] for name in KEPT if name in image.info}
        options |= {"xmp": _upright_xmp(options["xmp"])} if "xmp" in options else {}
        turn = UPRIGHT.get(image.getexif().get(ORIENTATION))
        try:
            options |= _exif_upright(image)
        except Exception:  # a damaged tag; Pillow may raise almost anything
            notes.append("its EXIF data is damaged and left out")
        if image.mode in ("CMYK", "LAB"):
            options.pop("icc_profile", None)
            notes.append(f"it becomes RGB: the colour profile of its {image.mode} is left out")
        options |= _own_options(image, kind)
        if turn is not None:
            image = image.transpose(turn)
            options |= _turned_tables(turn, options)
        alpha = None
        if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
            layer = image.convert("RGBA")
            alpha, image_rgb = np.asarray(layer.getchannel("A")), layer.convert("RGB")
        else:
            image_rgb = image.convert("RGB")
        written, suffix = (kind, "") if kind in WRITES else ("PNG", ELSE_SUFFIX)
        return Photo(np.array(image_rgb), alpha, written, suffix, image.mode in GREY, options, tuple(notes))


def _exif_upright(image):
    """Returns {"exif": the photo's EXIF data, with the orientation of an upright picture}; {} if there is none."""
    exif = image.getexif()
    for tag in list(exif):
        if image.format == "TIFF" and tag not in DESCRIBING:
            del exif[tag]
    if ORIENTATION in exif:
        exif[ORIENTATION] = 1
    return {"exif": exif.tobytes()} if exif else {}


def _upright_xmp(xmp):
    """Returns XMP data, bytes or str, with the orientation of an upright picture; Adobe's programs prefer it to EXIF's.

    Other text is returned as it is.
    """
    text = xmp.decode("latin-1") if isinstance(xmp, bytes) else xmp
    text = re.sub(r"(<tiff:Orientation>|\btiff:Orientation=[\"'])[2-8]", r"\g<1>1", text)
    return text.encode("latin-1") if isinstance(xmp, bytes) else text


def _sixteen_bits(image):
    """Returns whether the opened, not yet decoded image has more than 8 bits per channel."""
    raw = [str(tile.args[0] if isinstance(tile.args, tuple) and tile.args else tile.args) for tile in image.tile]
    return image.mode.startswith(("I", "F")) or any(";16" in mode for mode in raw)


def _own_options(image, kind):
    """Returns options that keep the quality of the file."""
    if kind == "JPEG" and getattr(image, "quantization", None):
        # Of others than Pillow's three, e.g. CMYK's, all of the colour is kept.
        sampling = max(0, JpegImagePlugin.get_sampling(image)) if image.mode != "L" else -1
        return {"qtables": image.quantization, "progressive": "progressive" in image.info} | (
            {"subsampling": sampling} if sampling >= 0 else {})
    if kind == "PNG":
        text = PngImagePlugin.PngInfo()
        for name, value in getattr(image, "text", {}).items():
            if isinstance(value, PngImagePlugin.iTXt):
                value = PngImagePlugin.iTXt(_upright_xmp(value), value.lang, value.tkey)
            text.add_text(name, value)
        return {"pnginfo": text}
    if kind == "TIFF":
        compression = image.info.get("compression", "raw")
        return {"compression": compression if compression in TIFF_KEPT else TIFF_ELSE}
    return BEST.get(kind, {})


def _turned_tables(turn, options):
    """Returns the options that change because a JPEG photo's rows become columns; {} if they do not, or for others."""
    if turn not in TURNED or "qtables" not in options:
        return {}
    tables = {number: np.reshape(table, (8, 8)).T.ravel().tolist() for number, table in options["qtables"].items()}
    # 4:2:2 would become 4:4:0, which Pillow does not write.
    return {"qtables": tables} | ({"subsampling": 0} if options.get("subsampling") == 1 else {})


def write_photo(photo: Photo, pixels: np.ndarray, path: Path) -> None:
    """Writes `pixels`, uint8 [H, W, 3] of any size, as the photo was stored; makes the folder.

    Raises WriteError, and BadImage for what the format cannot hold, e.g. too many pixels.
    """
    image = Image.fromarray(pixels)
    if photo.alpha is not None:
        image.putalpha(Image.fromarray(photo.alpha).resize(image.size, Image.Resampling.BICUBIC))
    if photo.grey:
        image = image.convert("LA" if photo.alpha is not None else "L")
    with replacing(path, make_folder=True) as file:
        try:
            encode(image, file, photo.format, **photo.options)
        except Exception as error:  # Pillow raises almost anything for data that a format cannot hold
            if isinstance(error, OSError) and error.errno:
                raise  # of the disk
            raise BadImage(path, f"it cannot be written as {photo.format}: {first_line(error)}") from None
