# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Measures the published degradation chains at 512 pixels: images/s of one worker, against simple PIL/numpy versions.

    python -m benchmarks.degradations [--json FILE]

Both draw the same random numbers. The straightforward FFHQ chain blurs and resizes with Pillow (its box filters replace
average blur and area resizing), computes motion blur as a sum of shifted images, and noise in float64. The
straightforward GPEN chain filters every Gaussian with its whole kernel and keeps float32 to the end, as the published
code does. The harder chain, two passes of GPEN's, has no straightforward version.
"""
import io

import cv2
import numpy as np
from PIL import Image, ImageFilter

from benchmarks.measuring import alternate, machine, median_ratio, show
from data import degradations
from data.drawn.builtin_faces import draw_face
from utils.device import pick_device
from utils.errors import run_main
from utils.option_types import SIZE, at_least, tool_parser

FILTERS = {"nearest": Image.Resampling.NEAREST, "linear": Image.Resampling.BILINEAR, "area": Image.Resampling.BOX,
           "cubic": Image.Resampling.BICUBIC}


def straightforward(image, rng):
    """Returns (target, degraded), as data.degradations.degrade_ffhq does, computed with Pillow and numpy."""
    _, _, record = degradations.degrade_ffhq(np.zeros((64, 64, 3), np.uint8), rng)  # draws the random numbers
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


def straightforward_gpen(image, rng):
    """Returns (target, degraded), as data.degradations.degrade_gpen does, computed in float32."""
    _, _, record = degradations.degrade_gpen(np.zeros((64, 64, 3), np.uint8), rng)
    target = (degradations.grey(image) if "grey" in record else image).astype(np.float32)
    widths = [record.get(name, record.get("sigma")) for name in ("sigma_x", "sigma_y")]
    kernel = degradations.gaussian_kernel(degradations.GPEN_KERNEL, *widths, record.get("angle", 0))
    low = cv2.filter2D(target, -1, kernel)
    low = cv2.resize(low, (int(len(low) / record["scale"]),) * 2, interpolation=cv2.INTER_LINEAR)
    low = low + np.random.default_rng(0).normal(0, record["noise"], low.shape)
    buffer = io.BytesIO()
    Image.fromarray(np.clip(np.rint(low), 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=record["quality"])
    low = np.asarray(Image.open(buffer)).astype(np.float32)
    return target, cv2.resize(low, (len(image),) * 2, interpolation=cv2.INTER_LINEAR)


def main():
    parser = tool_parser(__doc__)
    parser.add_argument("--size", type=at_least(16, largest=SIZE), default=512,
                        help="side of the images in pixels (default: 512)")
    parser.add_argument("--images", type=at_least(1, largest=1_000_000), default=60,
                        help="number of images per round (default: 60)")
    parser.add_argument("--rounds", type=at_least(1, largest=1_000_000), default=5,
                        help="number of alternating rounds (default: 5)")
    parser.add_argument("--json", default=None, help="JSON file to write (default: none)")
    a = parser.parse_args()
    cv2.setNumThreads(1)  # as in a worker
    faces = [draw_face(seed, a.size).image for seed in range(4)]
    chains = {"project": degradations.degrade_ffhq, "straightforward": straightforward,
              "project, GPEN": degradations.degrade_gpen, "straightforward, GPEN": straightforward_gpen,
              "project, harder": degradations.degrade_hard}
    jobs = {name: lambda chain=chain: [chain(faces[i % 4], np.random.default_rng(i)) for i in range(a.images)]
            for name, chain in chains.items()}
    device = pick_device("cpu")
    seconds = alternate(jobs, a.rounds, device)
    against = {name: name.replace("project", "straightforward") for name in chains}
    rows = [{"chain": name, "size": a.size, "images/s of one worker": a.images / sorted(times)[len(times) // 2],
             "faster": median_ratio(seconds[against[name]], times) if against[name] in seconds else ""}
            for name, times in seconds.items()]
    show(f"Degradations on one core: {machine(device)}", rows, a.json)


if __name__ == "__main__":
    run_main(main)
