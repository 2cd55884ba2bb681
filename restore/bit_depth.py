# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Photos of 16 bits per channel: OpenCV reads and writes their samples, Pillow everything else in the file.

Pillow reads the colours of such files in 8 bits. What describes the photo (EXIF, profile, resolution, text) is written
by Pillow as for 8 bits, into a file of one pixel, and put around the samples that OpenCV encodes.
"""
from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import cv2
import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from utils.opencv import quiet

STEP = 257  # of 16 bits, per step of 8 bits
OF_8_BITS = np.rint(np.arange(65536) / STEP).astype(np.uint8)
# Numbers of TIFF tags and of compressions in them
BITS, PHOTOMETRIC, OFFSETS, SAMPLES, COUNTS, PLANES, EXTRA, SAMPLE_FORMAT = 258, 262, 273, 277, 279, 284, 338, 339
SUB_FOLDERS = (34665, 34853)  # EXIF, GPS
COMPRESSIONS = {"raw": 1, "tiff_lzw": 5, "packbits": 32773}
DEFLATE = 8
LONG = 4
PNG_PIXELS = (b"IHDR", b"IDAT", b"IEND")
PNG_COLOUR, GREY_ALPHA = 25, 4  # place of the colour type in a PNG file, and the type of grey with alpha
UNASSOCIATED_ALPHA = 2

TRANSPOSED = {
    None: lambda a: a,
    Image.Transpose.FLIP_LEFT_RIGHT: lambda a: a[:, ::-1], Image.Transpose.FLIP_TOP_BOTTOM: lambda a: a[::-1],
    Image.Transpose.ROTATE_90: np.rot90, Image.Transpose.ROTATE_180: lambda a: a[::-1, ::-1],
    Image.Transpose.ROTATE_270: lambda a: np.rot90(a, -1), Image.Transpose.TRANSPOSE: lambda a: a.swapaxes(0, 1),
    Image.Transpose.TRANSVERSE: lambda a: a.swapaxes(0, 1)[::-1, ::-1]}


def eight_bits(pixels: np.ndarray) -> np.ndarray:
    """Returns uint8 of a uint8 or uint16 picture, rounded."""
    return pixels if pixels.dtype == np.uint8 else OF_8_BITS[pixels]


def enlarged(pixels: np.ndarray, size: tuple[int, int], box: tuple[float, ...] | None = None) -> np.ndarray:
    """Returns `box` (default: all) of a uint8 or uint16 picture [H, W] or [H, W, 3] at `size` (width, height).

    By PIL BICUBIC. box: left, top, right, bottom; its borders see the pixels outside of it.
    """
    if pixels.dtype == np.uint8:
        return np.array(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC, box=box))
    if pixels.ndim == 2:
        larger = Image.fromarray(pixels.astype(np.float32)).resize(size, Image.Resampling.BICUBIC, box=box)
        return np.clip(np.rint(np.asarray(larger)), 0, 65535).astype(np.uint16)
    result = np.empty((size[1], size[0], pixels.shape[2]), np.uint16)
    for channel in range(pixels.shape[2]):  # Pillow resizes one channel of such depth at a time
        result[..., channel] = enlarged(pixels[..., channel], size, box)
    return result


def bits_per_channel(image: Image.Image, content: bytes) -> set[int | str]:
    """Returns the channels' bits of an opened, not yet decoded image; words for other than unsigned whole numbers.

    content: of its file. For formats that cannot have more than 8 bits it is {8}.
    """
    if image.format == "TIFF":
        kinds = image.tag_v2.get(SAMPLE_FORMAT, (1,))
        return {*image.tag_v2.get(BITS, (1,)), *("signed or float" for kind in kinds if kind not in (1, 4))}
    if image.format == "JPEG2000":
        return _jpeg2000_bits(content)
    if image.format == "AVIF":
        setting = content.find(b"av1C")
        return {"10 or 12" if setting >= 0 and int.from_bytes(content[setting + 6:setting + 7], "big") & 0x40 else 8}
    if image.format == "PPM":
        most = _largest_value(image)
        return {{65535: 16}.get(most, f"values up to {most}") if most > 255 else 8}
    raw = [str(tile.args[0] if isinstance(tile.args, tuple) and tile.args else tile.args) for tile in image.tile]
    return {16 if image.mode.startswith("I") or any(";16" in mode for mode in raw) else 8}


def _largest_value(image):
    """Returns the value of white in an opened PPM, PGM or PBM image; of PFM, which holds floats, infinity."""
    rawmode, *others = image.tile[0].args if isinstance(image.tile[0].args, tuple) else (image.tile[0].args,)
    if image.mode == "F":
        return math.inf
    return 65535 if ";16" in rawmode else others[0] if others else 255


def _jpeg2000_bits(content):
    """Returns the bits of the components, from the codestream's SIZ segment (ISO/IEC 15444-1, A.5.1)."""
    start = content.find(b"\xff\x4f\xff\x51")
    if start < 0:
        return {8}  # damaged: its decoder says so
    components = content[start + 42:][:3 * int.from_bytes(content[start + 40:start + 42], "big"):3]
    return {"signed" if size & 0x80 else (size & 0x7F) + 1 for size in components}


def read_samples(image: Image.Image, content: bytes) -> np.ndarray | None:
    """Returns the samples of a file of 16 bits, uint16 [H, W, 1 to 4]: grey, grey and alpha, RGB or RGBA.

    Returns None for files that cannot be kept so. image: as Pillow decoded it; its 8 bits show whether OpenCV read the
    same: of damaged and unusual files it may give something else.
    """
    if image.format == "TIFF" and not _is_plain(image.tag_v2) or "transparency" in image.info:
        return None
    with quiet():
        found = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if found is None or found.dtype != np.uint16 or found.shape[:2] != image.size[::-1]:
        return None
    if found.ndim == 2:
        found = found[..., None]
    elif found.shape[2] in (3, 4):
        cv2.cvtColor(found, cv2.COLOR_BGR2RGB if found.shape[2] == 3 else cv2.COLOR_BGRA2RGBA, dst=found)
    known = np.asarray(image)
    known = OF_8_BITS[known.clip(0, 65535)] if known.ndim == 2 else known
    seen = eight_bits(found).reshape(known.shape) if found.size == known.size else None
    # Within 1, modulo 256: of JPEG 2000, Pillow rounds 255.5 up to 0.
    if seen is None or (seen - known + np.uint8(1)).max(initial=0) > 2:
        return None
    grey_alpha = image.format == "PNG" and content[PNG_COLOUR] == GREY_ALPHA
    return found[..., [0, 3]] if grey_alpha else found


def _is_plain(tags):
    """Returns whether a TIFF file of 16 bits is grey or RGB, or RGB with alpha by which colours were not multiplied."""
    colours = (tags.get(PHOTOMETRIC), tags.get(SAMPLES, 1))
    alpha = tags.get(EXTRA, (UNASSOCIATED_ALPHA,))
    return (colours in ((1, 1), (2, 3), (2, 4)) and alpha == (UNASSOCIATED_ALPHA,)
            and (tags.get(PLANES, 1) == 1 or colours[1] == 1))


def write_samples(file: BinaryIO, samples: np.ndarray, form: str, options: dict[str, Any]) -> None:
    """Writes what read_samples returns, in the format `form` with Pillow's `options`; ValueError if it cannot."""
    if form == "PNG":
        _write_png(file, samples, options)
    elif form == "TIFF":
        _write_tiff(file, samples, options)
    elif form == "JPEG2000":  # without loss
        file.write(_encoded(".jp2", samples, [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000]))
    else:
        file.write(_encoded(".ppm" if samples.shape[2] == 3 else ".pgm", samples))


def _encoded(extension, samples, parameters=()):
    """Returns the file's bytes; ValueError if OpenCV cannot encode it, e.g. very small JPEG 2000 pictures."""
    if samples.shape[2] > 1:
        samples = cv2.cvtColor(samples, cv2.COLOR_RGB2BGR if samples.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)
    with quiet():
        done, content = cv2.imencode(extension, samples, list(parameters))
    if not done:
        raise ValueError("such a picture of 16 bits cannot be encoded")
    return content.tobytes()


def _one_pixel(form, options):
    """Returns a file of one pixel, as Pillow writes it with `options`."""
    content = io.BytesIO()
    Image.new("RGB", (1, 1)).save(content, form, **options)
    return content


def png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields (type, the whole chunk) of a PNG file; ends where it is cut short."""
    place = 8  # behind the signature
    while place + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        yield kind, content[place:place + 12 + length]
        place += 12 + length


def _chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _write_png(file, samples, options):
    described = b"".join(chunk for kind, chunk in png_chunks(_one_pixel("PNG", options).getvalue())
                         if kind not in PNG_PIXELS)
    encoded = _grey_alpha_png(samples) if samples.shape[2] == 2 else _encoded(".png", samples)
    file.write(encoded[:8])
    for kind, chunk in png_chunks(encoded):
        if kind in PNG_PIXELS:
            file.write(chunk)
        if kind == b"IHDR":
            file.write(described)


def _grey_alpha_png(samples):
    """Returns a PNG file of grey and alpha, which OpenCV does not write; each row as its difference from the last."""
    height, width = samples.shape[:2]
    rows = samples.astype(">u2").view(np.uint8).reshape(height, -1)
    rows = np.hstack([np.full((height, 1), 2, np.uint8), rows - np.vstack([np.zeros_like(rows[:1]), rows[:-1]])])
    return (b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, GREY_ALPHA, 0, 0, 0))
            + _chunk(b"IDAT", zlib.compress(rows.tobytes())) + _chunk(b"IEND", b""))


def _write_tiff(file, samples, options):
    described = Image.open(_one_pixel("TIFF", options | {"compression": "raw"}))
    code = COMPRESSIONS.get(options.get("compression", "raw"), DEFLATE)
    encoded = _encoded(".tif", samples, [cv2.IMWRITE_TIFF_COMPRESSION, code])
    stored = Image.open(io.BytesIO(encoded)).tag_v2
    directory, strips = ImageFileDirectory_v2(), list(zip(stored[OFFSETS], stored[COUNTS], strict=True))
    for tags in (described.tag_v2, stored):
        for tag, value in tags.items():
            directory[tag] = described.getexif().get_ifd(tag) if tag in SUB_FOLDERS else value
            directory.tagtype[tag] = tags.tagtype[tag]
    if samples.shape[2] == 4:
        directory[EXTRA] = UNASSOCIATED_ALPHA
    begins = np.cumsum([0, *(length for _, length in strips)])
    for tag, values in ((OFFSETS, begins[:-1]), (COUNTS, [length for _, length in strips])):
        directory[tag], directory.tagtype[tag] = tuple(int(value) for value in values), LONG
    directory.save(file)  # adds its own length to the offsets
    for start, length in strips:
        file.write(encoded[start:start + length])
