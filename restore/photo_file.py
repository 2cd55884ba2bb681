# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Reads and writes whole photos; what is not the picture survives: format, EXIF, colour profile, alpha, resolution."""
from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL import Image, JpegImagePlugin, PngImagePlugin

from restore.bit_depth import TRANSPOSED, bits_per_channel, enlarged, png_chunks, read_samples, write_samples
from utils.errors import first_line
from utils.files import replacing
from utils.images import ORIENTATION, PARTS_OF_ONE, TURNED, UPRIGHT, BadImage, encode, opened

WRITES = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "TGA")  # others become PNG
ELSE_SUFFIX = ".png"  # that names of others get
# For formats whose files do not say how they were compressed: without loss, or with as little as they can.
BEST = {"WEBP": {"lossless": True, "exact": True}, "AVIF": {"quality": 100, "subsampling": "4:4:4"}}
TIFF_KEPT, TIFF_ELSE = ("raw", "packbits", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate"), "tiff_adobe_deflate"
KEPT = ("icc_profile", "dpi", "xmp", "comment")  # what Pillow reads into `info` and writes again under the same name
GREY = ("1", "L", "LA", "La")
XMP = 700  # tag of a TIFF file
IPTC = 0x0404  # number of these data among those of Adobe's programs
# Tags of a TIFF file that describe the photo; the others describe how its pixels are stored. Description, maker, model,
# software, date, artist, XMP, copyright, EXIF, GPS.
DESCRIBING = (270, 271, 272, 305, 306, 315, XMP, 33432, 34665, 34853)
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
        options |= {"xmp": _upright_xmp(options["xmp"])} if "xmp" in options else {}
        turn = UPRIGHT.get(image.getexif().get(ORIENTATION))
        try:
            options |= _exif_upright(image)
        except Exception:  # a damaged tag; Pillow may raise almost anything
            notes.append("its EXIF data is damaged and left out")
        if image.mode in ("CMYK", "LAB"):
            options.pop("icc_profile", None)
            notes.append(f"it becomes RGB: the colour profile of its {image.mode} is left out")
        options |= _own_options(image, kind, content)
        options |= _turned_tables(turn, options)
        if deep:
            pixels, alpha, grey = _deep(path, image, content, turn)
        else:
            pixels, alpha, grey = *_shallow(image if turn is None else image.transpose(turn)), image.mode in GREY
        written, suffix = (kind, "") if kind in WRITES else ("PNG", ELSE_SUFFIX)
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
    if XMP in exif:
        exif[XMP] = _upright_xmp(exif[XMP])
    return {"exif": exif.tobytes()} if exif else {}


def _upright_xmp(xmp):
    """Returns XMP data, bytes or str, with the orientation of an upright picture; Adobe's programs prefer it to EXIF's.

    Other text is returned as it is.
    """
    text = xmp.decode("latin-1") if isinstance(xmp, bytes) else xmp
    text = re.sub(r"(<tiff:Orientation>|\btiff:Orientation=[\"'])[2-8]", r"\g<1>1", text)
    return text.encode("latin-1") if isinstance(xmp, bytes) else text


def _own_options(image, kind, content):
    """Returns options that keep the quality of the file."""
    if kind == "JPEG" and getattr(image, "quantization", None):
        # Of others than Pillow's three, e.g. CMYK's, all of the colour is kept.
        sampling = max(0, JpegImagePlugin.get_sampling(image)) if image.mode != "L" else -1
        return {"qtables": image.quantization, "progressive": "progressive" in image.info, "extra": _iptc(image)} | (
            {"subsampling": sampling} if sampling >= 0 else {})
    if kind == "PNG":
        text = PngImagePlugin.PngInfo()
        for name, value in getattr(image, "text", {}).items():
            if isinstance(value, PngImagePlugin.iTXt):
                value = PngImagePlugin.iTXt(_upright_xmp(value), value.lang, value.tkey)
            text.add_text(name, value)
        for name, chunk in png_chunks(content):
            if name in PNG_COLOURS:
                text.add(name, chunk[8:-4])
        return {"pnginfo": text}
    if kind == "TIFF":
        compression = image.info.get("compression", "raw")
        return {"compression": compression if compression in TIFF_KEPT else TIFF_ELSE}
    return BEST.get(kind, {})


def _iptc(image):
    """Returns a JPEG segment with the photo's IPTC data (captions, keywords, rights), as Adobe's programs store them.

    Their other data are left out: they hold a small copy of the picture as it was.
    """
    record = image.info.get("photoshop", {}).get(IPTC)
    content = b"Photoshop 3.0\x008BIM" + IPTC.to_bytes(2, "big") + bytes(2) + len(record or b"").to_bytes(4, "big")
    content += (record or b"") + bytes(len(record or b"") % 2)
    return b"\xff\xed" + (len(content) + 2).to_bytes(2, "big") + content if record and len(content) < 65_534 else b""


def _turned_tables(turn, options):
    """Returns the options that change because a JPEG photo's rows become columns; {} if they do not, or for others."""
    if turn not in TURNED or "qtables" not in options:
        return {}
    tables = {number: np.reshape(table, (8, 8)).T.ravel().tolist() for number, table in options["qtables"].items()}
    # 4:2:2 would become 4:4:0, which Pillow does not write.
    return {"qtables": tables} | ({"subsampling": 0} if options.get("subsampling") == 1 else {})


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
                encode(_image(photo, pixels, alpha), file, photo.format, **photo.options)
        except Exception as error:  # Pillow raises almost anything for data that a format cannot hold
            if isinstance(error, OSError) and error.errno:
                raise  # of the disk
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
