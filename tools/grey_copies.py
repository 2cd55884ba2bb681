# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Makes grey copies of a folder of images, as inputs for colorization; the originals are its references.

    python -m tools.grey_copies FACES TARGET
    python newtest.py --pth_path WEIGHTS --dataset_name colorization --dataroot TARGET --gtroot FACES

Each copy is a PNG file of the same size, name and subfolder: ITU-R 601 luma in three equal channels.
"""
from pathlib import Path

import numpy as np

from data.degradations import grey
from tools.targets import check_apart, check_new
from utils.errors import UserError, run_main
from utils.files import WriteError
from utils.images import BadImage, Skipped, list_images, output_names, read_rgb, save_image
from utils.option_types import tool_parser


def copy_grey(folder, target, skipped=None):
    """Writes the copies and returns their number. Images that cannot be read or written go to `skipped`."""
    skipped = skipped or Skipped()
    check_apart(folder, target)
    check_new(target)
    paths = list_images(folder, "FACES")
    copied = 0
    for path, name in zip(paths, output_names(paths, folder), strict=True):
        try:
            save_image(grey(np.asarray(read_rgb(path))), Path(target) / name)
            copied += 1
        except BadImage as error:
            skipped.add(error)
        except WriteError as error:
            skipped.add(error.if_of_name())
    if not copied:
        raise UserError(f"FACES: none of the {len(paths)} images in {folder} can be read.")
    return copied


def main():
    parser = tool_parser(__doc__)
    parser.add_argument("faces", help="folder of images, searched recursively")
    parser.add_argument("target", help="output folder for the copies, new or empty; must not overlap FACES")
    a = parser.parse_args()
    skipped = Skipped()
    print(f"{a.target}: {copy_grey(a.faces, a.target, skipped)} grey copies")
    return skipped.exit_status()


if __name__ == "__main__":
    run_main(main)
