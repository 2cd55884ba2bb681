"""How fast one worker prepares CelebA faces, against bare decoding and the three resizes alone.

    python -m benchmarks.data_loading [--dataroot FACES] [--json FILE]

bare      open, decode, resize to 128, down to 16, up to 128 (PIL BICUBIC), to an array: no protocol needs less
none, fixed, upstream   data/celeba_dataset.py with that augmentation, one process, no worker
loader N  the whole loader with N workers and batches of 32, augmentation fixed
Without --dataroot: built-in faces as JPEG of 178 x 178 pixels, CelebA's size.
"""
import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.measuring import alternate, machine, median_ratio, show
from data.augment import AUGMENTATIONS
from data.celeba_dataset import CelebADataset
from data.drawn.builtin_faces import draw_face
from data.face_folder import Place
from data.loader import TrainingOrder, make_loader
from utils.images import list_images, resize


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
    """Images a second of the loader, from its 5th batch on."""
    loader = iter(make_loader(dataset, TrainingOrder(len(dataset), 32, batches + 5), workers))
    for _ in range(5):
        next(loader)
    start = time.perf_counter()
    for _ in range(batches):
        next(loader)
    return batches * 32 / (time.perf_counter() - start)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataroot", default=None)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--json", default=None)
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
            rows.append({"what": f"loader {workers}", "images/s": loader_speed(datasets["fixed"], workers),
                         "share of bare": ""})
    show(f"CelebA faces on {machine(device)}; medians of {a.rounds} alternating rounds", rows, a.json)


if __name__ == "__main__":
    main()
