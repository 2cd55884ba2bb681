# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Shows facial priors: each face of a folder beside its landmark heatmaps and its parsing maps.

    python -m tools.show_priors FACES out.png --dataset_name celebamask
"""
import colorsys

import numpy as np

from data import AUGMENTATIONS, find_dataset
from data.face_folder import Place
from tools.targets import check_apart
from utils.errors import UserError, run_main
from utils.images import check_writable, grid, save_shown
from utils.names import printable
from utils.option_types import SIZE, at_least, tool_parser


def colour_maps(maps, background):
    """Returns uint8 RGB [H, W, 3]: each map in its own hue, over the dimmed `background` of the same size."""
    image = background * 0.4
    for channel in range(maps.shape[2]):
        colour = 255 * np.array(colorsys.hsv_to_rgb(channel / maps.shape[2], 0.9, 1))
        image += (colour - image) * (maps[..., channel, None] / 255 * 0.8)
    return np.rint(image).astype(np.uint8)


def show(sample, heatmap_count):
    """Returns [face, heatmaps' maximum over the face, parsing maps over the face]; omits kinds the sample lacks."""
    face, maps = sample["hr"], sample["priors"]
    maps = maps.repeat(2, axis=0).repeat(2, axis=1)
    heat, parsing = maps[..., :heatmap_count], maps[..., heatmap_count:]
    images = [face]
    if heat.shape[2]:
        images.append(np.maximum(face // 3, heat.max(2, keepdims=True)))
    if parsing.shape[2]:
        images.append(colour_maps(parsing, face))
    return images


def main():
    parser = tool_parser(__doc__)
    parser.add_argument("faces", help="folder of annotated faces")
    parser.add_argument("target", help="image to write; each sample shows a face, its heatmaps and its parsing maps")
    parser.add_argument("--dataset_name", default="celebamask",
                        help="dataset that reads the folder, a name in data/__init__.py (default: celebamask)")
    parser.add_argument("--priors", choices=["heatmaps", "parsing", "both"], default=None,
                        help="priors to show (default: the dataset's default)")
    parser.add_argument("--augmentation", choices=AUGMENTATIONS, default="none",
                        help="augmentation of the faces, as for newtrain.py (default: none)")
    parser.add_argument("--load_size", type=at_least(16, largest=SIZE), default=128,
                        help="side of a face in pixels (default: 128)")
    parser.add_argument("--rows", type=at_least(1, largest=1000), default=4, help="number of rows (default: 4)")
    parser.add_argument("--columns", type=at_least(1, largest=1000), default=3,
                        help="number of samples per row (default: 3)")
    a = parser.parse_args()
    check_apart(a.faces, a.target)
    check_writable(a.target)
    kind = find_dataset(a.dataset_name)
    if not kind.takes_priors:
        raise UserError(f"--dataset_name {a.dataset_name} has no priors; choose a dataset that has, e.g. celebamask.")
    faces = kind(kind.list_faces(a.faces, "FACES"), load_size=a.load_size, scale_factor=8, augmentation=a.augmentation,
                 priors=a.priors)
    for line in faces.warnings:
        print(f"warning: {line}")
    names = kind.prior_names(a.priors)
    parts = [name for name in names if name in kind.parsing_names]
    samples = [faces[Place(0, i)] for i in range(min(a.rows * a.columns, len(faces)))]
    bad = dict.fromkeys((path, what) for s in samples for kind, path, what in s["notes"] if kind == "bad")
    for path, what in bad:
        print(f"warning: bad image: {printable(path)}: {what}")
    if not all("priors" in sample for sample in samples):
        raise UserError(f"FACES: too many bad images in a row in {a.faces}.", status=1)
    shown = [show(sample, len(names) - len(parts)) for sample in samples]
    rows = [sum(shown[start:start + a.columns], []) for start in range(0, len(shown), a.columns)]
    save_shown(grid(rows), a.target)
    print(f"Look at {a.target}: {len(names) - len(parts)} heatmaps; parts: {', '.join(parts)}")
    return int(bool(bad))


if __name__ == "__main__":
    run_main(main)
