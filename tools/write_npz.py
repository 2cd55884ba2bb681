# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Writes a network's inputs as arrays, for offline inference without this project (e.g. an .om model on Ascend).

    python -m tools.write_npz FACES TARGET [--load_size 512] [--dataset_name colorization] [--format npz|npy|bin]

Each image of FACES becomes TARGET/NAME.npz, in the same subfolder, with one array under the key `input`: float32
[1, 3, load_size, load_size], RGB, -1 (black) to 1 (white), identical to the network's input in newtest.py --dataroot.
With --clean, FACES are clean faces, and the inputs are made of them as in newtest.py --gtroot. TARGET/inputs.txt lists
the files in order, one path per line, relative to TARGET. ais_bench reads .npy and .bin: .npy is the array alone, .bin
its bytes in NCHW order. tools/score_outputs.py scores what a runtime makes of them.
"""
from argparse import Namespace
from pathlib import Path

import numpy as np
import torch

from data import input_reader, trained_side
from data.face_folder import Place
from engine.evaluation_set import choose_faces
from tools.targets import check_apart, check_new
from utils.errors import UserError, run_main
from utils.files import WriteError, replacing, write_file
from utils.images import BadImage, Skipped, list_images, output_names, to_tensor_range
from utils.option_types import SIZE, at_least, text, tool_parser

KEY, LIST = "input", "inputs.txt"
WRITERS = {"npz": lambda file, array: np.savez(file, **{KEY: array}), "npy": np.save,
           "bin": lambda file, array: file.write(array.tobytes())}


def clean_faces(folder, target, load_size, dataset_name, degradation=None, scale_factor=8):
    """Returns the dataset that makes inputs of clean faces, as newtest.py --gtroot does."""
    return choose_faces(Namespace(
        dataroot=None, gtroot=folder, dataset_name=dataset_name, degradation=degradation, load_size=load_size,
        min_size=1, max_images=None, scale_factor=scale_factor, priors="none", results_dir=str(target), name=""),
        None).faces


def write_inputs(folder, target, load_size, dataset_name="blind", skipped=None, form="npz", faces=None,
                 degradation=None, scale_factor=8):
    """Writes the files and their list; returns their number. Images that cannot be read go to `skipped`.

    faces: a dataset whose samples have an input `lr`; default: the images of `folder` are the inputs. degradation,
    scale_factor: of the training; if it made all faces equally small, others are taken to that size first.
    """
    skipped = skipped or Skipped()
    check_apart(folder, target)
    check_new(target)
    target = Path(target)
    faces = faces or input_reader(dataset_name, degradation)(
        list_images(folder, "FACES"), load_size, on_bad_image="stop",
        trained_side=trained_side(dataset_name, degradation, load_size, scale_factor))
    paths = faces.paths
    written = []
    for i, name in enumerate(output_names(paths, folder, f".{form}")):
        sample = faces[Place(0, i)]
        if "lr" not in sample:
            skipped.add(BadImage(*sample["notes"][-1][1:]))
            continue
        try:
            with replacing(target / name, make_folder=True) as file:
                array = to_tensor_range(torch.tensor(sample["lr"])[None]).numpy()
                WRITERS[form](file, np.ascontiguousarray(array))
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
    parser.add_argument("target", help="output folder for the files, new or empty; must not overlap FACES")
    parser.add_argument("--load_size", type=at_least(16, largest=SIZE), default=512,
                        help="side of the network's square input, in pixels (default: 512)")
    parser.add_argument("--dataset_name", default="blind",
                        help="task of the training: colorization converts images to grey, seg2face index maps to "
                             "colours, celeba resizes images to load_size / scale_factor pixels first, as newtest.py "
                             "does; "
                             "blind keeps them (default: blind)")
    parser.add_argument("--clean", action="store_true", help="FACES are clean: degrades them as in training")
    parser.add_argument("--degradation", type=text, default=None, help="of the training (default: the dataset's own)")
    parser.add_argument("--scale_factor", type=at_least(1, largest=SIZE), default=8,
                        help="factor by which the training made faces smaller; only tasks with small faces, as celeba, "
                             "read it (default: 8)")
    parser.add_argument("--format", choices=list(WRITERS), default="npz", help="kind of file (default: npz)")
    a = parser.parse_args()
    skipped = Skipped()
    made_of = (a.faces, a.target, a.load_size, a.dataset_name, a.degradation, a.scale_factor)
    faces = clean_faces(*made_of) if a.clean else None
    count = write_inputs(a.faces, a.target, a.load_size, a.dataset_name, skipped, a.format, faces, a.degradation,
                         a.scale_factor)
    key = f"key {KEY}, " if a.format == "npz" else ""
    print(f"{a.target}: {count} files, listed in {LIST}; {key}float32 1x3x{a.load_size}x{a.load_size}, RGB, -1 to 1")
    return skipped.exit_status()


if __name__ == "__main__":
    run_main(main)
