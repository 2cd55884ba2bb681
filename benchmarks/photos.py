# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""newphoto.py on a folder: photos one after the other, beside reading ahead and restoring faces of several photos.

    python -m benchmarks.photos [--photos 16] [--faces 3] [--device auto] [--json FILE]

The photos are made: 960x720 pixels, drawn faces of 60 to 110 pixels on skimage's coffee, as JPEG. In alternation they
are restored by a plain loop (read, find, restore, paste and write one photo; the network's batch holds its faces) and
by newphoto.py's PhotoRun. The start of the program is not counted. `faster` is the median over the rounds of the loop's
time divided by PhotoRun's. `levels` is the largest difference between the pixels of both.
"""
import contextlib
import io
import statistics
import tempfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from skimage.data import coffee

import utils.device
from benchmarks.measuring import alternate, machine, median_ratio, show
from benchmarks.restoring import use_cores
from data.drawn.builtin_faces import draw_face
from engine.photo_run import PhotoRun
from options.photo_options import parse_photo
from restore.photo_file import read_photo, write_photo
from utils.background import usable_cores
from utils.errors import run_main
from utils.option_types import at_least, file_path, tool_parser

SIZE = (720, 960)


def write_photos(folder, count, faces):
    """Writes `count` photos with `faces` faces each."""
    folder.mkdir(parents=True)
    background = cv2.resize(coffee(), SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    for number in range(count):
        photo, rng = background.copy(), np.random.default_rng(number)
        for face in range(faces):
            side = int(rng.integers(60, 110))
            left, top = 20 + face % 6 * 150, 20 + face // 6 * 150
            photo[top:top + side, left:left + side] = draw_face(900_000 + number * 100 + face, side).image
        Image.fromarray(photo).save(folder / f"{number:03d}.jpg", quality=90)


def one_by_one(run):
    """Restores the photos of a PhotoRun in a plain loop."""
    for name in run.names:
        photo = read_photo(run.root / name)
        write_photo(photo, run.restore(photo.pixels)[0], run.folder / name)


def main():
    parser = tool_parser(__doc__)
    parser.add_argument("--photos", type=at_least(1), default=16, help="number of photos; default: %(default)s")
    parser.add_argument("--faces", type=at_least(1), default=3, help="faces per photo; default: %(default)s")
    parser.add_argument("--rounds", type=at_least(1), default=5, help="rounds; default: %(default)s")
    parser.add_argument("--cores", type=at_least(1), default=usable_cores(), help="cores to use; default: all")
    parser.add_argument("--device", default="auto", help="device of the network; default: auto")
    parser.add_argument("--json", type=file_path, default=None, help="JSON file to write; default: none")
    options = parser.parse_args()
    use_cores(options.cores)
    device = utils.device.pick_device(options.device)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write_photos(folder / "in", options.photos, options.faces)

        def run(name):
            return PhotoRun(parse_photo([str(folder / "in"), "--output_path", str(folder / name), "--again", "--device",
                                         options.device]))
        loop, runs = run("loop"), iter([run("run") for _ in range(options.rounds + 1)])

        def newphoto():
            with contextlib.redirect_stdout(io.StringIO()):
                next(runs).run()
        jobs = {"loop": lambda: one_by_one(loop), "newphoto": newphoto}
        alternate(jobs, 1, device)  # warm up
        seconds = alternate(jobs, options.rounds, device)
        levels = max(difference(folder / "loop" / name, folder / "run" / name) for name in loop.names)
    show("newphoto.py: photos in batches against one by one", [{
        "photos": options.photos, "faces": options.faces, "cores": options.cores,
        "loop photos/s": options.photos / statistics.median(seconds["loop"]),
        "newphoto photos/s": options.photos / statistics.median(seconds["newphoto"]),
        "faster": median_ratio(seconds["loop"], seconds["newphoto"]), "levels": levels,
        "machine": machine(device)}], options.json)


def difference(one, other):
    """Returns the largest difference of two pictures' values."""
    first, second = (np.asarray(Image.open(path)).astype(int) for path in (one, other))
    return int(np.abs(first - second).max())


if __name__ == "__main__":
    run_main(main)
