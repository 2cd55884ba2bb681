# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Makes example photos and a picture before | after of what newphoto.py does with them.

    python -m tools.photo_example photos OUT     writes astronaut.jpg and group.jpg into OUT
    python -m tools.photo_example picture IN OUT before_after.png

The astronaut (Eileen Collins, NASA, public domain) comes with scikit-image; the group is drawn (data/drawn).
"""
import io

import cv2
import numpy as np
from PIL import Image
from skimage.data import astronaut

from data.drawn.builtin_faces import draw_face
from data.face128_chain import degrade_face128
from restore.photo_file import read_photo
from utils.errors import UserError, run_main
from utils.files import write_file
from utils.images import check_writable, save_image
from utils.option_types import file_path, tool_parser

ASTRONAUT, GROUP = 200, (360, 560)  # side; height and width in pixels
# (left, top, side, seed) of the group's faces: sizes of faces in photos, seeds outside of the built-in training set.
FACES = ((20, 40, 110, 900_001), (160, 60, 90, 900_002), (280, 30, 120, 900_003), (430, 70, 80, 900_004),
         (60, 210, 64, 900_005), (200, 220, 100, 900_006), (360, 215, 72, 900_007), (470, 230, 56, 900_008))
QUALITY, GAP = 70, 8  # of JPEG; white pixels between the pictures


def small_astronaut():
    """Returns the astronaut as an old digital photo, uint8 [200, 200, 3]."""
    return np.asarray(Image.fromarray(astronaut()).resize((ASTRONAUT, ASTRONAUT), Image.Resampling.LANCZOS))


def group():
    """Returns a photo of drawn people of several sizes, each a little blurred or noisy, uint8 [360, 560, 3]."""
    height, width = GROUP
    shade = np.linspace(150, 210, height)[:, None, None] * np.array((0.95, 1, 1.05))
    photo = np.broadcast_to(shade, (height, width, 3)).astype(np.uint8).copy()
    for left, top, side, seed in FACES:
        _, face, _ = degrade_face128(draw_face(seed, 128).image, np.random.default_rng(seed))
        face = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
        photo[top:top + side, left:left + side] = face
    return photo


def write_photos(folder):
    """Writes the photos into `folder`. Raises UserError, before it writes, if another file has one of their names."""
    photos = {}
    for name, photo in (("astronaut.jpg", small_astronaut()), ("group.jpg", group())):
        content = io.BytesIO()
        Image.fromarray(photo).save(content, "JPEG", quality=QUALITY)
        photos[folder / name] = content.getvalue()
    for path, content in photos.items():
        if path.exists() and path.read_bytes() != content:
            raise UserError(f"{path} is there already and is another file: choose another folder.")
    for path, content in photos.items():
        write_file(path, content, make_folder=True)


def before_after(before, after, path):
    """Writes a picture with a row for each photo that is in both folders: before | after."""
    names = sorted(file.name for file in before.glob("*.jpg") if (after / file.name).is_file())
    if not names:
        raise UserError(f"{before}, {after}: there is no .jpg photo that is in both.")
    rows = []
    for name in names:
        pictures = [read_photo(folder / name).pixels for folder in (before, after)]
        height, width = pictures[1].shape[:2]
        pictures[0] = np.asarray(Image.fromarray(pictures[0]).resize((width, height), Image.Resampling.BICUBIC))
        rows.append(np.concatenate([pictures[0], np.full((height, GAP, 3), 255, np.uint8), pictures[1]], 1))
    widest = max(row.shape[1] for row in rows)
    rows = [np.pad(row, ((0, GAP), (0, widest - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    save_image(np.concatenate(rows), path)
    print(f"Look at {path} (before | after)")


def main():
    parser = tool_parser(__doc__)
    parser.add_argument("what", choices=["photos", "picture"])
    parser.add_argument("folders", nargs="+", type=file_path, help="OUT, or IN OUT PICTURE")
    a = parser.parse_args()
    if len(a.folders) != {"photos": 1, "picture": 3}[a.what]:
        raise UserError("give `photos OUT`, or `picture IN OUT PICTURE`.")
    if a.what == "photos":
        write_photos(*a.folders)
    else:
        check_writable(a.folders[2])
        before_after(*a.folders)


if __name__ == "__main__":
    run_main(main)
