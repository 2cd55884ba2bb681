"""The published degradation chain at 512 pixels: images/s of one worker, against a straightforward PIL/numpy version.

    python -m benchmarks.degradations [--json FILE]

Both draw the same numbers. The straightforward one blurs and resizes with Pillow, makes its motion blur by adding up
shifted pictures and its noise in float64; Pillow has no average blur of any size but the box, and no area filter but
the box either, which stand for them.
"""
import argparse
import io

import cv2
import numpy as np
from PIL import Image, ImageFilter

from benchmarks.measuring import alternate, machine, median_ratio, show
from data import degradations
from data.builtin_faces import draw_face
from utils.device import pick_device

FILTERS = {"nearest": Image.Resampling.NEAREST, "linear": Image.Resampling.BILINEAR, "area": Image.Resampling.BOX,
           "cubic": Image.Resampling.BICUBIC}


def straightforward(image, rng):
    """(target, degraded) as data.degradations.degrade_ffhq, with Pillow and numpy."""
    _, _, record = degradations.degrade_ffhq(np.zeros((64, 64, 3), np.uint8), rng)  # the numbers; small, so cheap
    face = Image.fromarray(image)
    if "grey" in record:
        face = face.convert("L").convert("RGB")
    low = face
    kind = record.get("blur")
    if kind == "gaussian":
        low = low.filter(ImageFilter.GaussianBlur(record["sigma"]))
    elif kind == "average":
        low = low.filter(ImageFilter.BoxBlur((record["size"] - 1) / 2))
    elif kind == "median":
        low = low.filter(ImageFilter.MedianFilter(record["size"]))
    elif kind == "motion":
        kernel = degradations.motion_kernel(record["size"], record["angle"], record["direction"])
        padded = np.pad(np.asarray(low), [(record["size"] // 2,) * 2] * 2 + [(0, 0)], mode="reflect")
        total = sum(weight * padded[y:y + image.shape[0], x:x + image.shape[1]]
                    for (y, x), weight in np.ndenumerate(kernel) if weight)
        low = Image.fromarray(np.clip(np.rint(total), 0, 255).astype(np.uint8))
    low = low.resize((record["low_size"],) * 2, FILTERS[record["filter"]])
    if "noise" in record:
        shape = (*low.size[::-1], 3 if record["coloured"] else 1)
        noisy = np.asarray(low) + np.random.default_rng(0).normal(0, record["noise"], shape)
        low = Image.fromarray(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))
    if "quality" in record:
        buffer = io.BytesIO()
        low.save(buffer, "JPEG", quality=record["quality"])
        low = Image.open(buffer).convert("RGB")
    return np.asarray(face), np.asarray(low.resize(face.size, Image.Resampling.BICUBIC))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--images", type=int, default=60, help="a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", default=None)
    a = parser.parse_args()
    cv2.setNumThreads(1)  # as in a worker
    faces = [draw_face(seed, a.size).image for seed in range(4)]
    jobs = {name: lambda chain=chain: [chain(faces[i % 4], np.random.default_rng(i)) for i in range(a.images)]
            for name, chain in (("project", degradations.degrade_ffhq), ("straightforward", straightforward))}
    device = pick_device("cpu")
    seconds = alternate(jobs, a.rounds, device)
    rows = [{"chain": name, "size": a.size, "images/s of one worker": a.images / sorted(times)[len(times) // 2],
             "faster": median_ratio(seconds["straightforward"], times)} for name, times in seconds.items()]
    show(f"Degradations on one core: {machine(device)}", rows, a.json)


if __name__ == "__main__":
    main()
