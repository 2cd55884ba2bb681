# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Packs a folder of faces into one small zip file, for machines with a limit on uploads.

    python -m tools.pack_faces CELEBA/train train_faces.zip --max_mb 48
    python -m tools.pack_faces CELEBA/val val_faces.zip --max_mb 4 --count 200

Each face's centred square becomes a WebP file of --size pixels (PIL BICUBIC, as in training), at the highest quality
that keeps the zip file below --max_mb. Prints the PSNR of packed faces against unpacked ones. (17,000 faces of CelebA
at 128 pixels: 46 MB, 37 dB. JPEG needs 52 MB for 34.6 dB. AVIF has the same quality at the same size as WebP, but
encodes four times as slowly.) Measure scores on the original files, not on packed ones.
"""
import io
import os
import zipfile

import numpy as np
from PIL import Image

from data.face_folder import FaceFolder
from data.loader import spread
from tools.targets import check_apart
from utils.errors import UserError, run_main
from utils.files import replacing
from utils.images import BadImage, Skipped, centre_square, output_names, read_rgb, resize
from utils.names import printable
from utils.option_types import SIZE, at_least, tool_parser

QUALITIES = range(60, 97)
SAMPLE = 200  # number of faces used to choose the quality
ENTRY_BYTES = 150  # overhead in the zip file per face: names and headers
MARGIN = 0.98  # safety factor: the sample's mean size differs a little from the mean size of all faces


def encode(face, quality):
    buffer = io.BytesIO()
    face.save(buffer, "WEBP", quality=quality, method=6)
    return buffer.getvalue()


def read_faces(paths, size, skipped):
    """Yields (path, PIL image of the centred square, size x size) for each readable file; others go to `skipped`."""
    for path in paths:
        try:
            image = read_rgb(path)
        except BadImage as error:
            skipped.add(error)
            continue
        yield path, resize(image, size, centre_square(image.size))


def choose_quality(faces, count, max_bytes):
    """Returns the highest quality at which `count` faces like the sample `faces` fit into `max_bytes`.

    Raises UserError if even the lowest of QUALITIES is too large.
    """
    def total(quality):
        return count * (sum(len(encode(face, quality)) for face in faces) / len(faces) + ENTRY_BYTES)

    fitting = 0  # number of QUALITIES that fit, found by bisection: sizes grow with quality
    above = len(QUALITIES)
    while fitting < above:
        middle = (fitting + above) // 2
        if total(QUALITIES[middle]) <= MARGIN * max_bytes:
            fitting = middle + 1
        else:
            above = middle
    if not fitting:
        raise UserError(f"--max_mb: {count} faces need {total(QUALITIES[0]) / 1e6:.1f} MB at quality {QUALITIES[0]}; "
                        f"increase it, or reduce --size or --count.")
    return QUALITIES[fitting - 1]


def pack(folder, target, size, max_mb, count=None, skipped=None):
    """Writes the zip file `target`; returns (number of faces, quality, bytes, mean PSNR in dB of a sample).

    Images that cannot be read go to `skipped`.
    """
    skipped = skipped or Skipped()
    check_apart(folder, target)
    paths = FaceFolder.list_faces(folder, "FACES")
    if count and count < len(paths):
        paths = paths.at(spread(count, len(paths)))
    sample = [face for _, face in read_faces(paths.at(spread(min(SAMPLE, len(paths)), len(paths))), size, skipped)]
    if not sample:
        raise UserError(f"FACES: none of the sampled images in {folder} can be read.")
    quality = choose_quality(sample, len(paths), max_mb * 1e6)
    packed = 0
    with replacing(target) as file, zipfile.ZipFile(file, "w") as archive:
        names = dict(zip(paths, output_names(paths, folder, ".webp"), strict=True))
        for path, face in read_faces(paths, size, skipped):
            # printable: a zip file holds names in UTF-8 only, and other systems have no line breaks in names
            archive.writestr(printable(names[path]), encode(face, quality))
            packed += 1
    return packed, quality, os.path.getsize(target), np.mean([loss_in_db(face, quality) for face in sample])


def loss_in_db(face, quality):
    """Returns the PSNR in dB, over RGB, of a packed face against the unpacked one."""
    after = np.asarray(Image.open(io.BytesIO(encode(face, quality)))).astype(np.float64)
    return 10 * np.log10(255 ** 2 / max(np.mean((after - np.asarray(face)) ** 2), 1e-9))


def main():
    parser = tool_parser(__doc__)
    parser.add_argument("faces", help="folder of faces")
    parser.add_argument("target", help="the zip file to write")
    parser.add_argument("--size", type=at_least(16, largest=SIZE), default=128,
                        help="side of the packed squares in pixels (default: 128)")
    parser.add_argument("--max_mb", type=at_least(0, float), default=48,
                        help="largest size of the zip file in MB (default: 48)")
    parser.add_argument("--count", type=at_least(1), default=None,
                        help="number of faces to pack, evenly spread over the folder (default: all)")
    a = parser.parse_args()
    skipped = Skipped()
    packed, quality, size, psnr = pack(a.faces, a.target, a.size, a.max_mb, a.count, skipped)
    print(f"{a.target}: {packed} faces of {a.size} pixels, {size / 1e6:.1f} MB, WebP quality {quality}, "
          f"PSNR {psnr:.1f} dB against the unpacked faces")
    return skipped.exit_status()


if __name__ == "__main__":
    run_main(main)
