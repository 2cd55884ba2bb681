"""The example picture, in one command: scikit-image's astronaut, restored from 16x16 pixels by shipped weights.

    python -m tools.astronaut [--pretrained sparnet] [--results_dir results]

Writes RESULTS_DIR/astronaut/astronaut.png (LR | bicubic | SR | HR) beside what newtest.py writes, and prints the
scores. The photograph (Eileen Collins, NASA, public domain) comes with scikit-image; no training here has seen it.
"""
import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.data import astronaut

from engine.tester import Tester
from options.test_options import parse_test
from utils.errors import run_main
from utils.images import degrade, grid, resize, save_shown

# Her face as CelebA's aligned faces are cut: eyes 24 % of the width apart, their middle at 50 % and 55 %.
BOX = (135, 5, 316, 186)
SIZE, SCALE = 128, 8


def compare(hr, sr):
    """uint8 HWC RGB: LR (pixels enlarged) | bicubic | SR | HR, of a PIL image `hr` and a uint8 HWC array `sr`."""
    low = resize(hr, SIZE // SCALE).resize((SIZE, SIZE), Image.Resampling.NEAREST)
    return grid([[np.asarray(low), np.asarray(degrade(hr, SCALE)), sr, np.asarray(hr)]])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pretrained", default="sparnet", help="which of the weights in pretrained/")
    parser.add_argument("--results_dir", default="results", type=Path)
    parser.add_argument("--device", default="auto")
    a = parser.parse_args()
    folder = a.results_dir / "astronaut"
    hr = resize(Image.fromarray(astronaut()), SIZE, BOX)
    save_shown(np.asarray(hr), folder / "face" / "astronaut.png")
    Tester(parse_test(["--pretrained", a.pretrained, "--gtroot", str(folder / "face"), "--name", "astronaut",
                       "--results_dir", str(a.results_dir), "--device", a.device, "--workers", "0"])).run()
    sr = np.asarray(Image.open(folder / "restored" / "astronaut.png"))
    save_shown(compare(hr, sr), folder / "astronaut.png")
    print(f"Look at {folder / 'astronaut.png'} (LR | bicubic | SR | HR)")


if __name__ == "__main__":
    run_main(main)
