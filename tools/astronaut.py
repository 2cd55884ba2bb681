# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Makes the example image: scikit-image's astronaut, restored from 16x16 pixels by the shipped weights.

    python -m tools.astronaut [--pretrained sparnet] [--results_dir results]

Writes RESULTS_DIR/astronaut/astronaut.png (LR | bicubic | SR | HR) and prints the scores. The photograph (Eileen
Collins, NASA, public domain) comes with scikit-image. No weights were trained on it.
"""

import numpy as np
from PIL import Image
from skimage.data import astronaut

from metrics.psnr_ssim import psnr, ssim
from restore.restorer import Restorer
from utils.errors import run_main
from utils.images import degrade, grid, resize, save_shown
from utils.option_types import file_path, tool_parser

# Crops the face as CelebA's aligned faces: eyes 24 % of the width apart, their midpoint at (50 %, 55 %).
BOX = (135, 5, 316, 186)
PROTOCOL = "benchmark"  # rounds to uint8, as the written image does


def main():
    parser = tool_parser(__doc__)
    parser.add_argument("--pretrained", default="sparnet",
                        help="weights: the name of a folder in pretrained/, or the path of a file (default: sparnet)")
    parser.add_argument("--results_dir", default="results", type=file_path,
                        help="output folder; the image is written to RESULTS_DIR/astronaut (default: results)")
    parser.add_argument("--device", default="auto", help="device: auto, npu, cuda or cpu (default: auto)")
    a = parser.parse_args()
    restorer = Restorer.load(a.pretrained, a.device)
    size, scale = restorer.input_size, restorer.scale_factor
    face = resize(Image.fromarray(astronaut()), size, BOX)
    small = resize(face, size // scale)
    restored, = restorer([np.asarray(small)])
    true, bicubic = np.asarray(face), np.asarray(degrade(face, scale))
    for name, image in (("bicubic", bicubic), ("restored", restored)):
        print(f"{name:10} {psnr(image, true, PROTOCOL):.4f} dB / {ssim(image, true, PROTOCOL):.4f} "
              f"(protocol {PROTOCOL})")
    enlarged = np.asarray(small.resize((size, size), Image.Resampling.NEAREST))
    path = a.results_dir / "astronaut" / "astronaut.png"
    save_shown(grid([[enlarged, bicubic, restored, true]], titles=["LR", "bicubic", "SR", "HR"]), path)
    print(f"Look at {path} (LR | bicubic | SR | HR)")


if __name__ == "__main__":
    run_main(main)
