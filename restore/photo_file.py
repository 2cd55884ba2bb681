# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Reads and writes whole photos; what is not the picture survives: format, EXIF, colour profile, alpha, resolution."""
from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL import Image, JpegImagePlugin, PngImagePlugin

from restore.bit_depth import TRANSPOSED, bits_per_channel, enlarged, png_chunks, read_samples, write_samples
from utils.errors import first_line
from utils.files import replacing
from utils.images import ORIENTATION, PARTS_OF_ONE, UPRIGHT, BadImage, opened

WRITES = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "TGA")  # others become PNG
# For formats whose files do not say how they were compressed: without loss, or with as little as they can.
BEST = {"WEBP": {"lossless": True, "exact": True}, "AVIF": {"quality": 100, "subsampling": "4:4:4"}}
TIFF_KEPT, TIFF_ELSE = ("raw", "packbits", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate"), "tiff_adobe_deflate"
KEPT = ("icc_profile", "dpi", "xmp", "comment")  # what Pillow reads into `info` and writes again under the same name
GREY = ("1", "L", "LA", "La")
# Tags of a TIFF file that describe the photo; the others describe how its pixels are stored. Description, maker, model,
# software, date, artist, XMP, copyright, EXIF, GPS.
DESCRIBING = (270, 271, 272, 305, 306, 315, 700, 33432, 34665, 34853)
PNG_COLOURS = (b"cHRM", b"cICP", b"gAMA", b"sRGB")  # chunks that say which colours the values mean


class Photo(NamedTuple):
    """pixels: uint8 or uint16 [H, W, 3], RGB, upright. alpha: [H, W] of the same type, or None.

    format: Pillow's name of what is written. suffix: that the file's name gets because its own format is not written,
    else "". grey: whether it is written without colour. options: Pillow's, for writing. notes: what will not survive.
    """
    pixels: np.ndarray
    alpha: np.ndarray | None
    format: str
    suffix: str
    grey: bool
    options: dict[str, Any]
    notes: tuple[str, ...]


def read_photo(path: str | Path | BinaryIO) -> Photo:
    """Returns the photo at `path`, which may also be an open binary file.

    Raises BadImage for what cannot be read, and for what could only be kept in part: animations, files of several
    pages, and more than 8 bits per channel in other forms than read_samples takes.
    """
    with opened(path) as image:
        # Not n_frames: to count the pages of a TIFF file takes Pillow a time that grows with their square.
        if getattr(image, "is_animated", False) and image.format not in PARTS_OF_ONE:
            raise BadImage(path, "it has several pages or frames: a photo has one")
        content = _content(image)
        deep = _is_deep(path, image, content)
        image.load()
        kind, notes = "JPEG" if image.format == "MPO" else image.format, []
        options = {name: image.info[name] for name in KEPT if name in image.info}
        turn = UPRIGHT.get(image.getexif().get(ORIENTATION))
        try:
            options |= _exif_upright(image)
        except Exception:  # a damaged tag; Pillow may raise almost anything
            notes.append("its EXIF data is damaged and left out")
        if image.mode == "CMYK":
            options.pop("icc_profile", None)
            notes.append("it becomes RGB: the colour profile of its CMYK is left out")
        options |= _own_options(image, kind, content)
        if deep:
            pixels, alpha, grey = _deep(path, image, content, turn)
        else:
            pixels, alpha, grey = *_shallow(image if turn is None else image.transpose(turn)), image.mode in GREY
        written, suffix = (kind, "") if kind in WRITES else ("PNG", ".png")
        return Photo(pixels, alpha, written, suffix, grey, options, tuple(notes))


def _content(image):
    """Returns the bytes of an opened, not yet decoded image's file."""
    place = image.fp.tell()
    image.fp.seek(0)
    content = image.fp.read()
    image.fp.seek(place)
    return content


def _is_deep(path, image, content):
    """Returns whether the opened image has 16 bits per channel, not 8; BadImage for other depths above 8."""
    bits = bits_per_channel(image, content)
    if all(isinstance(number, int) and number <= 8 for number in bits):
        return False
    if bits != {16}:
        raise BadImage(path, f"photos keep channels of 8 or 16 bits, not such ({', '.join(sorted(map(str, bits)))}): "
                             f"convert it first")
    return True


def _shallow(image):
    """Returns (pixels, alpha or None) of 8 bits of the decoded, upright image."""
    if image.mode not in ("RGBA", "LA", "PA", "La", "RGBa") and "transparency" not in image.info:
        return np.array(image.convert("RGB")), None
    layer = image.convert("RGBA")
    return np.array(layer.convert("RGB")), np.asarray(layer.getchannel("A"))


def _deep(path, image, content, turn):
    """Returns (pixels, alpha or None, grey) of 16 bits of the decoded image; BadImage if they cannot be kept."""
    samples = read_samples(image, content)
    if samples is None:
        raise BadImage(path, "its 16 bits per channel are not kept in this form: convert it to a plain PNG or TIFF "
                             "file of grey, RGB or RGBA first")
    samples = TRANSPOSED[turn](samples)
    channels = samples.shape[2]
    colours = samples[..., :3] if channels > 2 else samples[..., :1].repeat(3, 2)
    alpha = None if channels % 2 else np.ascontiguousarray(samples[..., -1])
    return np.ascontiguousarray(colours), alpha, channels < 3


def _exif_upright(image):
    """Returns {"exif": the photo's EXIF data, with the orientation of an upright picture}; {} if there is none."""
    exif = image.getexif()
    for tag in list(exif):
        if image.format == "TIFF" and tag not in DESCRIBING:
            del exif[tag]
    if ORIENTATION in exif:
        exif[ORIENTATION] = 1
    return {"exif": exif.tobytes()} if exif else {}


def _own_options(image, kind, content):
    """Returns options that keep the quality of the file."""
    if kind == "JPEG" and getattr(image, "quantization", None):
        sampling = JpegImagePlugin.get_sampling(image) if image.mode != "L" else -1
        return {"qtables": image.quantization, "progressive": "progressive" in image.info} | (
            {"subsampling": sampling} if sampling >= 0 else {})
    if kind == "PNG":
        text = PngImagePlugin.PngInfo()
        for name, value in getattr(image, "text", {}).items():
            text.add_text(name, value)
        for name, chunk in png_chunks(content):
            if name in PNG_COLOURS:
                text.add(name, chunk[8:-4])
        return {"pnginfo": text}
    if kind == "TIFF":
        compression = image.info.get("compression", "raw")
        return {"compression": compression if compression in TIFF_KEPT else TIFF_ELSE}
    return BEST.get(kind, {})


def write_photo(photo: Photo, pixels: np.ndarray, path: Path | BinaryIO) -> None:
    """Writes `pixels`, [H, W, 3] of any size and of the photo's type, as the photo was stored; makes the folder.

    path: of the file, or an open binary file.
    Raises WriteError, and BadImage for what the format cannot hold, e.g. too many pixels.
    """
    alpha = None if photo.alpha is None else enlarged(photo.alpha, pixels.shape[1::-1])
    with contextlib.nullcontext(path) if hasattr(path, "write") else replacing(path, make_folder=True) as file:
        try:
            if pixels.dtype == np.uint16:
                write_samples(file, _samples(photo, pixels, alpha), photo.format, photo.options)
            else:
                _image(photo, pixels, alpha).save(file, photo.format, **photo.options)
        except OSError:
            raise  # of the disk
        except Exception as error:  # Pillow raises almost anything for data that a format cannot hold
            raise BadImage(path, f"it cannot be written as {photo.format}: {first_line(error)}") from None


def _image(photo, pixels, alpha):
    image = Image.fromarray(pixels)
    if alpha is not None:
        image.putalpha(Image.fromarray(alpha))
    if photo.grey:
        image = image.convert("LA" if alpha is not None else "L")
    return image


def _samples(photo, pixels, alpha):
    """Returns what write_samples takes."""
    if photo.grey:
        pixels = np.rint(pixels @ np.array([.299, .587, .114])).astype(np.uint16)[..., None]  # as Pillow's grey
    return pixels if alpha is None else np.dstack([pixels, alpha])
