# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Measures the face finder (restore/face_finder.py): recall, false finds, and the error of the five points.

    python -m benchmarks.face_finding ANNOTATED LARGE [--json found.json]

ANNOTATED: folder of faces with 68 points of each in landmarks68.csv. LARGE: folder of faces of about 512 pixels with
the same. Both give five points per face: the eyes' middles, the nose tip and the corners of the mouth.
Faces of LARGE are laid on two photos of 1600x1200 pixels, twelve on each, with a given distance between the eyes in
pixels and a given angle in degrees. Photos without faces are those of skimage.
A face counts as found if the middle of the found eyes lies within half an eyes' distance of the true one and the found
eyes are less than twice as far apart. NME: mean error of the five points of the found faces in eyes' distances; roll
and size: standard deviation of the error of the face's angle, in degrees, and of its size. Seconds are the process's
time per photo.
"""

import math
import time
from pathlib import Path

import cv2
import numpy as np
import skimage.data
import torch
from skimage.transform import estimate_transform

from benchmarks.measuring import machine, show
from data.face_folder import FaceFolder
from data.landmark_files import find_landmarks_68, five_points
from data.loader import spread
from restore.face_finder import ALL_ANGLES, FaceFinder
from utils.errors import UserError, run_main
from utils.images import read_rgb
from utils.option_types import file_path, tool_parser

COLUMNS, ROWS, CELL = 4, 3, 400  # faces on a photo; pixels
RADIUS = 1.7  # of the disc around the eyes' middle that is cut out of a face's picture, in eyes' distances
DISTANCES = (6, 10, 25)
TINY, TINY_FACE = 4, 8  # eyes' distance in pixels, and the min_face to find them
ANGLES = (45, 90, 180)
TURNED = 25  # eyes' distance of turned faces in pixels
LARGE_FACES = 700  # eyes' distance in pixels
CUT = 64  # eyes' distance of the faces at the frame in pixels
WITHOUT_FACES = ("hubble_deep_field", "moon", "coffee", "chelsea", "rocket", "brick")
MEGAPIXELS = (4000, 6000)


def read_faces(folder, option, count=None):
    """Returns [(uint8 HWC RGB, five points [5, 2])] of a folder's images, `count` of them evenly spread."""
    table = find_landmarks_68(folder)
    if table is None:
        raise UserError(f"{option}: {folder} has no landmarks68.csv. Give the points of its faces there.")
    paths = [path for path in FaceFolder.list_faces(folder, option) if table.key(path)]
    paths = [paths[i] for i in spread(min(count or len(paths), len(paths)), len(paths))]
    return [(np.asarray(read_rgb(path)), five_points(table.of(path).astype(float))) for path in paths]


def eye_distance(points):
    return float(np.linalg.norm(points[1] - points[0]))


def resized(face, distance):
    """Returns (picture, points) of a face, resized until its eyes are `distance` pixels apart."""
    picture, points = face
    scale = distance / eye_distance(points)
    size = [round(length * scale) for length in picture.shape[1::-1]]
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(picture, size, interpolation=method), (points + 0.5) * scale - 0.5


def composed(background, faces, distance, angle=0):
    """Returns (photo, [points of each face]): twelve faces on `background`, uint8 [1200, 1600, 3].

    distance: between the eyes, in pixels. angle: by which the faces are turned clockwise, in degrees.
    """
    photo = cv2.resize(background, (COLUMNS * CELL, ROWS * CELL), interpolation=cv2.INTER_CUBIC)
    true = []
    for place, face in enumerate(faces):
        picture, points = resized(face, distance)
        middle = points[:2].mean(0)
        rows, columns = np.mgrid[:picture.shape[0], :picture.shape[1]]
        inside = np.hypot(columns - middle[0], rows - middle[1] - 0.2 * distance) / distance
        mask = np.clip((RADIUS - inside) / 0.2, 0, 1).astype(np.float32)
        centre = (np.array(divmod(place, COLUMNS))[::-1] + 0.5) * CELL + (0.3, 0.7)
        matrix = cv2.getRotationMatrix2D(middle, -angle, 1)
        matrix[:, 2] += centre - middle
        laid, mask = (cv2.warpAffine(part, matrix, photo.shape[1::-1], flags=cv2.INTER_CUBIC, borderMode=border)
                      for part, border in ((picture, cv2.BORDER_REPLICATE), (mask, cv2.BORDER_CONSTANT)))
        mask = mask.clip(0, 1)[..., None]
        photo = np.rint(photo * (1 - mask) + laid * mask).astype(np.uint8)
        true.append(cv2.transform(points[None], matrix)[0])
    return photo, true


def halves(face, distance):
    """Yields (photo, [points]) of a face of which the frame cuts off the left half, then the right half."""
    picture, points = resized(face, distance)
    middle = round(points[:, 0].mean())
    yield np.ascontiguousarray(picture[:, middle:]), [points - (middle, 0)]
    yield np.ascontiguousarray(picture[:, :middle + 1]), [points]


def measure(case, finder, photos, angles=(0,), min_face=None):
    """Returns the row of a table: the finder's results on [(photo, [points of each face])]."""
    errors, rolls, sizes, count, wrong = [], [], [], 0, 0
    start = time.process_time()
    results = [finder(photo, min_face, angles=angles) for photo, _ in photos]
    seconds = (time.process_time() - start) / len(photos)
    for found, (_, true) in zip(results, photos, strict=True):
        found = list(found)
        count += len(true)
        for points in true:
            distance = eye_distance(points)
            near = [face for face in found if np.linalg.norm((face.points[:2] - points[:2]).mean(0)) < distance / 2
                    and face.eye_distance < 2 * distance]
            if near:
                face = near[0]
                found = [other for other in found if other is not face]
                errors.append(np.linalg.norm(face.points - points, axis=1).mean() / distance)
                error = estimate_transform("similarity", points, face.points)
                rolls.append(math.degrees(error.rotation))
                sizes.append(error.scale)
        wrong += len(found)
    return {"case": case, "photos": len(photos), "faces": count, "found": len(errors), "false": wrong,
            "NME": float(np.mean(errors)) if errors else "", "p95": float(np.quantile(errors, 0.95)) if errors else "",
            "roll": float(np.std(rolls)) if errors else "", "size": float(np.std(sizes)) if errors else "",
            "s per photo": seconds}


def peak_mb(job):
    """Returns by how many MB (1e6 bytes) the process grows at most while `job` runs (Linux)."""
    def status(key):
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024 / 1e6

    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak is counted from now on
    before = status("VmRSS")
    job()
    return status("VmHWM") - before


def cases(finder, annotated, large):
    """Yields the rows of the table."""
    yield measure("annotated faces", finder, [(picture, [points]) for picture, points in annotated])
    backgrounds = [skimage.data.coffee(), skimage.data.rocket()]
    halfway = COLUMNS * ROWS
    groups = [large[:halfway], large[halfway:2 * halfway]]

    def pair(distance, angle=0):
        return [composed(*both, distance, angle) for both in zip(backgrounds, groups, strict=True)]

    yield measure(f"{TINY} px, min_face {TINY_FACE}", finder, pair(TINY), min_face=TINY_FACE)
    for distance in DISTANCES:
        yield measure(f"{distance} px between the eyes", finder, pair(distance))
    yield measure(f"{TURNED} px, all angles", finder, pair(TURNED), ALL_ANGLES)
    for angle in ANGLES:
        yield measure(f"{TURNED} px, turned by {angle}", finder, pair(TURNED, angle), ALL_ANGLES)
    grown = (resized(face, LARGE_FACES) for face in large[:6])
    yield measure(f"{LARGE_FACES} px between the eyes", finder, [(picture, [points]) for picture, points in grown])
    yield measure("half outside the frame", finder, [half for face in large for half in halves(face, CUT)])
    for angles, name in (((0,), "no faces"), (ALL_ANGLES, "no faces, all angles")):
        empty = [np.atleast_3d(getattr(skimage.data, photo)()) for photo in WITHOUT_FACES]
        empty = [np.ascontiguousarray(np.broadcast_to(photo, (*photo.shape[:2], 3))) for photo in empty]
        yield measure(name, finder, [(photo, []) for photo in empty], angles)


def main():
    parser = tool_parser(__doc__)
    parser.add_argument("annotated", help="folder of faces with landmarks68.csv in it or beside it")
    parser.add_argument("large", help="folder of faces of about 512 pixels, at least 24, with landmarks68.csv")
    parser.add_argument("--json", type=file_path, default=None, help="file for the table")
    a = parser.parse_args()
    annotated = read_faces(a.annotated, "ANNOTATED")
    large = read_faces(a.large, "LARGE", 2 * COLUMNS * ROWS)
    if len(large) < 2 * COLUMNS * ROWS:
        raise UserError(f"LARGE: {a.large} has {len(large)} faces with points; {2 * COLUMNS * ROWS} are needed.")
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    finder = FaceFinder()
    finder(skimage.data.astronaut())
    photo = cv2.resize(skimage.data.astronaut(), MEGAPIXELS[::-1])
    peak = peak_mb(lambda: finder(photo))
    rows = []
    for row in cases(finder, annotated, large):
        rows.append(row)
        print("  ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()), flush=True)
    show(f"Finding faces on {machine(torch.device('cpu'))}; 24 megapixels take {peak:.0f} MB beyond the photo", rows,
         a.json)


if __name__ == "__main__":
    run_main(main)
