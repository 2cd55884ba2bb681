# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Measures how fast one worker prepares CelebA faces, against the bare minimum: decoding and three resizes.

    python -m benchmarks.data_loading [--dataroot FACES] [--json FILE]

bare      opens, decodes, resizes to 128, to 16 and to 128 (PIL BICUBIC), converts to an array: the minimum
fixed, upstream, none   data/celeba_dataset.py with that augmentation, in one process, without workers
loader N  the whole loader with N workers, batches of 32 and augmentation fixed
Without --dataroot: built-in faces as JPEG files of 178 x 178 pixels, CelebA's size.
"""
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.measuring import alternate, machine, median_ratio, show
from data import AUGMENTATIONS
from data.celeba_dataset import CelebADataset
from data.drawn.builtin_faces import draw_face
from data.face_folder import Place
from data.loader import TrainingOrder, make_loader
from utils.errors import run_main
from utils.images import list_images, resize
from utils.option_types import at_least, tool_parser

FIXED = AUGMENTATIONS[0]  # newtrain.py's default --augmentation


def write_jpegs(folder, count):
    for i in range(count):
        Image.fromarray(draw_face(i, 178).image).save(Path(folder) / f"{i:05d}.jpg", quality=95)


def bare(paths):
    def run():
        for path in paths:
            with Image.open(path) as image:
                hr = resize(image.convert("RGB"), 128)
            np.asarray(hr)
            np.asarray(resize(resize(hr, 16), 128))
    return run


def through(dataset):
    def run():
        for i in range(len(dataset)):
            dataset[Place(0, i)]
    return run


def loader_speed(dataset, workers, batches=40):
    """Returns the loader's images per second; the first 5 batches are excluded."""
    loader = iter(make_loader(dataset, TrainingOrder(len(dataset), 32, batches + 5), workers))
    for _ in range(5):
        next(loader)
    start = time.perf_counter()
    for _ in range(batches):
        next(loader)
    return batches * 32 / (time.perf_counter() - start)


def main():
    parser = tool_parser(__doc__)
    parser.add_argument("--dataroot", default=None, help="folder of faces (default: built-in faces)")
    parser.add_argument("--count", type=at_least(1, largest=1_000_000), default=200,
                        help="number of faces per round (default: 200)")
    parser.add_argument("--rounds", type=at_least(1, largest=1_000_000), default=9,
                        help="number of alternating rounds (default: 9)")
    parser.add_argument("--workers", type=at_least(0, largest=1024), nargs="+", default=[1, 2],
                        help="numbers of workers to measure the loader with (default: 1 2)")
    parser.add_argument("--json", default=None, help="JSON file to write (default: none)")
    a = parser.parse_args()
    device = torch.device("cpu")
    with tempfile.TemporaryDirectory() as folder:
        if not a.dataroot:
            write_jpegs(folder, a.count)
        paths = list_images(a.dataroot or folder, "--dataroot")[:a.count]
        datasets = {kind: CelebADataset(paths, load_size=128, scale_factor=8, augmentation=kind)
                    for kind in AUGMENTATIONS}
        jobs = {"bare": bare(paths)} | {kind: through(d) for kind, d in datasets.items()}
        seconds = alternate(jobs, a.rounds, device)
        rows = [{"what": name, "images/s": len(paths) / statistics.median(values),
                 "share of bare": f"{100 * median_ratio(seconds['bare'], values):.0f} %"}
                for name, values in seconds.items()]
        for workers in a.workers:
            rows.append({"what": f"loader {workers}", "images/s": loader_speed(datasets[FIXED], workers),
                         "share of bare": ""})
    show(f"CelebA faces on {machine(device)}; medians of {a.rounds} alternating rounds", rows, a.json)


if __name__ == "__main__":
    run_main(main)
