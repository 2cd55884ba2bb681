# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Built-in faces: portraits that the project draws itself, with exact landmarks and parsing maps.

numpy and OpenCV draw a person from a seed: nothing is downloaded, and no real person is shown. The same seed gives
the same person at every size, in any process and in any order.

    python -m data.drawn.builtin_faces OUT --count 1000 --first_seed 0 --size 128 [--sheet sheet.png]
"""

import csv
import io
import json
import multiprocessing
import os
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from data.drawn.face_drawing import draw_portrait
from data.drawn.face_shape import sample_person
from data.face_parts import CLASSES
from utils.errors import UserError, run_main
from utils.files import write_file
from utils.option_types import SIZE, Parser, at_least
from utils.started_by import end_with_starters

__all__ = ["CLASSES", "DRAWING_VERSION", "Face", "contact_sheet", "draw_face", "write_faces"]

DRAWING_VERSION = 1  # increase it whenever the same seed would give different pixels
MARKER = "faces.json"
SMALLEST_SIZE, LARGEST_SIZE = 32, 1024
PARALLEL_FROM = 64  # below this many faces, starting processes costs more than it saves
SHEET_ROWS = 8
OVERLAY_COLOURS = np.array([  # RGB, one row per class
    (0, 0, 0), (204, 150, 120), (255, 205, 90), (60, 60, 200), (40, 160, 255), (40, 220, 255), (120, 60, 20),
    (170, 90, 30), (220, 90, 160), (160, 60, 200), (255, 255, 255), (230, 30, 60), (255, 90, 120),
    (90, 160, 40), (130, 60, 130), (255, 240, 0), (0, 240, 200), (255, 140, 60), (70, 100, 150)], np.uint8)


@dataclass(frozen=True)
class Face:
    """A drawn face.

    image: uint8 [size, size, 3], RGB, 0..255.
    landmarks: float32 [68, 2], (x, y) in pixels of the image with pixel centres at whole numbers, in the
        order of iBUG 300-W (0-16 jaw, 17-26 brows, 27-35 nose, 36-47 eyes, 48-67 lips; "right" parts, which
        lie at the image's left, come first). Points may lie under hair, a hat or glasses.
    parsing: uint8 [size, size], the class of each pixel as an index into CLASSES, as in CelebAMask-HQ: l_ and
        r_ are the person's own left and right, so l_eye lies at the image's right.
    """

    image: np.ndarray
    landmarks: np.ndarray
    parsing: np.ndarray


def draw_face(seed, size=128):
    """Draws the face of a seed (an integer >= 0) as a Face of size x size pixels.

    Raises ValueError for a negative seed or a size outside SMALLEST_SIZE..LARGEST_SIZE.
    """
    check_request(1, seed, size)
    rng = np.random.default_rng([seed])
    person = sample_person(rng)
    image, parsing = draw_portrait(person, size, rng)
    landmarks = (person.landmarks * (size / 128) - .5).astype(np.float32)
    return Face(image, landmarks, parsing)


def check_request(count, first_seed, size):
    """Raises ValueError, naming the number, if a number is out of range."""
    for name, value, low, high in (("count", count, 1, 10**7), ("seed", first_seed, 0, 2**63),
                                   ("size", size, SMALLEST_SIZE, LARGEST_SIZE)):
        if not isinstance(value, (int, np.integer)) or not low <= value <= high:
            raise ValueError(f"{name} must be a whole number from {low} to {high}, not {value!r}")


def write_faces(folder, count, first_seed, size=128):
    """Writes images/, masks/ (index maps as PNG), landmarks68.csv and finally faces.json into folder.

    The faces are those of the seeds first_seed .. first_seed + count - 1; files are named from 00000.png on.
    Returns True if it drew them, False if the folder already held exactly this set. After an interruption, call it
    again to finish the set. Raises ValueError for invalid numbers, and for a folder that holds anything else; such a
    folder stays unchanged.
    """
    check_request(count, first_seed, size)
    folder = Path(folder)
    request = {"drawing_version": DRAWING_VERSION, "count": int(count), "first_seed": int(first_seed),
               "size": int(size), "complete": True}
    if claim_folder(folder, request):
        return False
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    draw = partial(write_face, folder, int(first_seed), int(size))
    if count < PARALLEL_FROM:
        rows = [draw(index) for index in range(count)]
    else:
        # "spawn", because forking a process that has used OpenCV's or torch's threads can hang.
        with multiprocessing.get_context("spawn").Pool(os.cpu_count(), cv2.setNumThreads, (1,)) as pool:
            rows = pool.map(draw, range(count), chunksize=16)
    write_landmarks(folder / "landmarks68.csv", rows)
    write_json(folder / MARKER, request)
    return True


def claim_folder(folder, request):
    """Returns True if the folder holds the finished set; otherwise marks the folder as this set's and returns False.

    Raises ValueError if the folder holds anything else.
    """
    marker = folder / MARKER
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is not a folder")
    if marker.is_file():
        try:
            found = json.loads(marker.read_text(encoding="utf-8"))
        except ValueError:
            found = None
        if found not in (request, {**request, "complete": False}):
            raise ValueError(f"{folder} holds another set of faces (see {marker}); "
                             "give an empty or new folder, or remove this one")
        return found["complete"] and set_is_whole(folder, request["count"])
    if folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f"{folder} holds other files and no {MARKER}; give an empty or new folder")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(marker, {**request, "complete": False})
    return False


def set_is_whole(folder, count):
    """Returns whether every file of the set exists."""
    names = {file_name(index) for index in range(count)}
    return (folder / "landmarks68.csv").is_file() and all(
        (folder / part).is_dir() and names <= set(os.listdir(folder / part)) for part in ("images", "masks"))


def file_name(index):
    return f"{index:05d}.png"


def write_face(folder, first_seed, size, index):
    """Draws and writes one face; returns its row of landmarks68.csv."""
    face = draw_face(first_seed + index, size)
    for part, pixels in (("images", face.image[:, :, ::-1]), ("masks", face.parsing)):
        path = folder / part / file_name(index)
        ok, encoded = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        if not ok:
            raise OSError(f"cannot encode {path}")
        write_file(path, encoded.tobytes())  # whole or not at all: another process may read this set or draw it, too
    return [file_name(index), *(f"{value:.2f}" for value in face.landmarks.ravel())]


def write_landmarks(path, rows):
    """Writes rows, each a file name and 68 pairs x, y."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["file", *(f"{axis}{point}" for point in range(68) for axis in "xy")])
    writer.writerows(rows)
    write_file(path, text.getvalue())


def write_json(path, content):
    """Writes `content` as JSON atomically: no reader sees a partial file."""
    write_file(path, json.dumps(content, indent=1) + "\n")


def contact_sheet(first_seed, count=SHEET_ROWS**2, size=128):
    """Returns a uint8 RGB image: up to 8 x 8 faces on the left, their parsing maps and landmarks on the right."""
    faces = [draw_face(first_seed + index, size) for index in range(min(count, SHEET_ROWS**2))]
    blank = np.zeros((size, size, 3), np.uint8)
    halves = []
    for tiles in ([face.image for face in faces], [overlay(face) for face in faces]):
        tiles += [blank] * (-len(tiles) % SHEET_ROWS)
        halves.append(np.concatenate([np.concatenate(tiles[start:start + SHEET_ROWS], 1)
                                      for start in range(0, len(tiles), SHEET_ROWS)]))
    return np.concatenate(halves, 1)


def overlay(face):
    """Returns the face blended with its coloured parsing map, with its landmarks: uint8 [size, size, 3] RGB."""
    picture = cv2.addWeighted(face.image, .4, OVERLAY_COLOURS[face.parsing], .6, 0)
    for x, y in face.landmarks:
        cv2.circle(picture, (round(float(x)), round(float(y))), 1, (255, 255, 255), -1)
    return picture


def main(arguments=None):
    """Runs the command line; returns the exit status (2 for invalid input)."""
    parser = Parser("python -m data.drawn.builtin_faces", description="Draw the built-in faces.")
    parser.add_argument("out", help="folder to write to: new, empty, or holding this very set")
    parser.add_argument("--count", type=at_least(1, largest=1_000_000), default=1000, help="how many faces")
    parser.add_argument("--first_seed", type=at_least(0), default=0, help="seed of the first face")
    parser.add_argument("--size", type=at_least(1, largest=SIZE), default=128,
                        help="side of the square pictures in pixels")
    parser.add_argument("--sheet", help="also write a picture of the first 64 faces and their maps here")
    start = time.perf_counter()
    end_with_starters()
    try:
        options = parser.parse_args(arguments)
        drawn = write_faces(options.out, options.count, options.first_seed, options.size)
        seconds = time.perf_counter() - start
        if options.sheet:
            sheet = contact_sheet(options.first_seed, options.count, options.size)
            known = cv2.haveImageWriter(options.sheet)
            if not known or not cv2.imwrite(options.sheet, sheet[:, :, ::-1]):
                raise ValueError(f"cannot write {options.sheet}: no such folder, or not the picture's name")
    except (UserError, ValueError, OSError, cv2.error) as error:
        print(f"builtin_faces: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    done = f"drawn at {options.count / seconds:.1f} faces/s" if drawn else "already there"
    print(f"{options.out}: {options.count} faces of {options.size} x {options.size} pixels, {done}")
    return 0


if __name__ == "__main__":
    run_main(main)
