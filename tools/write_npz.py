# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Writes a network's inputs as .npz files, for offline inference without this project (e.g. an .om model on Ascend).

    python -m tools.write_npz FACES TARGET [--load_size 512] [--dataset_name colorization]

Each image of FACES becomes TARGET/NAME.npz, in the same subfolder, with one array under the key `input`: float32
[1, 3, load_size, load_size], RGB, -1 (black) to 1 (white), identical to the network's input in newtest.py --dataroot.
TARGET/inputs.txt lists the files in order, one path per line, relative to TARGET. For tools that read .npy or raw
files: numpy.load(FILE)["input"] returns the array; its tofile() writes the bytes in NCHW order.
"""
from pathlib import Path

import numpy as np
import torch

from data import input_reader
from data.face_folder import Place
from tools.grey_copies import check_apart
from utils.errors import UserError, run_main
from utils.files import WriteError, replacing, write_file
from utils.images import BadImage, Skipped, list_images, output_names, to_tensor_range
from utils.option_types import SIZE, at_least, tool_parser

KEY, LIST = "input", "inputs.txt"


def write_inputs(folder, target, load_size, dataset_name="blind", skipped=None):
    """Writes the files and their list; returns their number. Images that cannot be read go to `skipped`."""
    skipped = skipped or Skipped()
    check_apart(folder, target)
    target = Path(target)
    paths = list_images(folder, "FACES")
    faces = input_reader(dataset_name)(paths, load_size, on_bad_image="stop")
    written = []
    for i, name in enumerate(output_names(paths, folder, ".npz")):
        sample = faces[Place(0, i)]
        if "lr" not in sample:
            skipped.add(BadImage(*sample["notes"][-1][1:]))
            continue
        try:
            with replacing(target / name, make_folder=True) as file:
                np.savez(file, **{KEY: to_tensor_range(torch.tensor(sample["lr"])[None]).numpy()})
            written.append(name)
        except WriteError as error:
            skipped.add(error.if_of_name())
    if not written:
        raise UserError(f"FACES: none of the {len(paths)} images in {folder} can be read.")
    write_file(target / LIST, "".join(f"{name}\n" for name in written))
    return len(written)


def main():
    parser = tool_parser(__doc__)
    parser.add_argument("faces", help="folder of input images: degraded faces; for seg2face, parsing maps")
    parser.add_argument("target", help="output folder for the .npz files; must not overlap FACES")
    parser.add_argument("--load_size", type=at_least(16, largest=SIZE), default=512,
                        help="side of the network's square input, in pixels (default: 512)")
    parser.add_argument("--dataset_name", default="blind",
                        help="task: colorization converts images to grey, seg2face converts index maps to colours, any "
                             "other task keeps the images (default: blind)")
    a = parser.parse_args()
    skipped = Skipped()
    count = write_inputs(a.faces, a.target, a.load_size, a.dataset_name, skipped)
    print(f"{a.target}: {count} files, listed in {LIST}; key {KEY}, float32 1x3x{a.load_size}x{a.load_size}, RGB, "
          f"-1 to 1")
    return skipped.exit_status()


if __name__ == "__main__":
    run_main(main)
