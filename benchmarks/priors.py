# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Measures facial priors: heatmaps against full-image Gaussians drawn one by one, and whole samples of one worker.

    python -m benchmarks.priors [--json FILE]

one by one   the published method: one Gaussian over the whole image per point, in numpy
heatmaps, parts   data/priors.py: heatmaps of the same number of points, and the 9 parsing maps
samples      data/*_dataset.py in one process with --augmentation fixed, including reading, cropping, resizing and
             degrading: built-in faces as JPEG files of 178 pixels with 68 landmarks, and of 512 pixels with masks
"""
import statistics
import tempfile
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from benchmarks.data_loading import FIXED, through
from benchmarks.measuring import alternate, machine, median_ratio, show
from data import find_dataset
from data.drawn.builtin_faces import draw_face, write_landmarks
from data.face_parts import POINTS_68
from data.priors import draw_parts, heatmaps, move_points
from utils.device import pick_device
from utils.errors import run_main
from utils.option_types import SIZE, at_least, tool_parser

DRAWN = 50  # number of faces drawn per round


def one_by_one(points, size):
    """Returns uint8 [size, size, L], as data.priors.heatmaps does."""
    x = np.arange(size, dtype=float)
    y = x[:, None]
    sigma = 3 * size / 64
    maps = np.zeros((size, size, len(points)), np.uint8)
    for i, (a, b) in enumerate(points):
        maps[:, :, i] = 255 * np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * sigma**2))
    return maps


def each(draw, shapes):
    """Returns a function that draws each of `shapes` and discards the result, as a worker does."""
    def run():
        for points in shapes:
            draw(points)
    return run


def write_samples(folder, count, size):
    """Writes built-in faces as JPEG files, with their masks and landmarks."""
    rows = []
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for i in range(count):
        face = draw_face(i, size)
        Image.fromarray(face.image).save(folder / "images" / f"{i:05d}.jpg", quality=95)
        Image.fromarray(face.parsing).save(folder / "masks" / f"{i:05d}.png")
        rows.append([f"{i:05d}.jpg", *face.landmarks.ravel()])
    write_landmarks(folder / "landmarks68.csv", rows)


def main():
    parser = tool_parser(__doc__)
    parser.add_argument("--size", type=at_least(16, largest=SIZE), default=64,
                        help="side of the maps in pixels; the faces' side is twice that (default: 64)")
    parser.add_argument("--count", type=at_least(1, largest=1_000_000), default=60,
                        help="number of samples per round (default: 60)")
    parser.add_argument("--rounds", type=at_least(1, largest=1_000_000), default=9,
                        help="number of alternating rounds (default: 9)")
    parser.add_argument("--json", default=None, help="JSON file to write (default: none)")
    a = parser.parse_args()
    cv2.setNumThreads(1)  # as in a worker
    device = pick_device("cpu")
    points = [move_points(draw_face(seed).landmarks, (0, 0, 128, 128), a.size) for seed in range(DRAWN)]
    more = [p[np.arange(194) % 68] for p in points]
    jobs = {f"{name} {len(shapes[0])}": each(partial(draw, size=a.size), shapes) for shapes in (points, more)
            for name, draw in (("one by one", one_by_one), ("heatmaps", heatmaps))}
    jobs["parts 68"] = each(partial(draw_parts, size=a.size, point_set=POINTS_68), points)
    seconds = alternate(jobs, a.rounds, device)
    rows = [{"what": name, "images/s": DRAWN / statistics.median(times),
             "times one by one": round(median_ratio(seconds[f"one by one {name.split()[-1]}"], times), 2)
             if "parts" not in name else ""} for name, times in seconds.items()]
    with tempfile.TemporaryDirectory() as folder:
        jobs = {}
        for pixels, name, priors in ((178, "landmarks68", "none"), (178, "landmarks68", "heatmaps"),
                                     (178, "landmarks68", "both"), (512, "celebamask", "none"),
                                     (512, "celebamask", "parsing")):
            root, kind = Path(folder) / str(pixels), find_dataset(name)
            if not root.exists():
                write_samples(root, a.count, pixels)
            jobs[f"samples {name} {pixels} px, priors {priors}"] = through(
                kind(kind.list_faces(str(root), "--dataroot"), 2 * a.size, 8, FIXED, priors=priors))
        rows += [{"what": name, "images/s": a.count / statistics.median(times), "times one by one": ""}
                 for name, times in alternate(jobs, a.rounds, device).items()]
    show(f"Facial priors at {a.size} pixels on one core: {machine(device)}; medians of {a.rounds} alternating rounds",
         rows, a.json)


if __name__ == "__main__":
    run_main(main)
