# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Scores arrays that another runtime restored, e.g. an .om model on Ascend, and writes them as images.

    python -m tools.score_outputs OUTPUTS TARGET --gtroot FACES --dataset_name celeba --load_size 128
    python -m tools.score_outputs OUTPUTS TARGET --dataroot INPUTS [--gtroot REFERENCES] --load_size 512

The inputs were written by tools/write_npz.py from the same folder: --gtroot with its --clean, or --dataroot. The
output of an input NAME is OUTPUTS/NAME.npz (one array), .npy or .bin, also NAME_0.npy, as ais_bench names it: float32
[1, 3, load_size, load_size] or without the 1, RGB, -1 (black) to 1 (white). --npz_list names the outputs instead, one
path per line, relative to the list, in the order of the inputs.

Writes TARGET/restored/, samples.png, and, with references, faces.csv and scores.json; earlier results there are moved
to TARGET.previous. Prints the same table as newtest.py, which scores a network's arrays the same way. An output that is
missing or damaged is named, and the exit status is 1.
"""
import contextlib
import itertools
from argparse import Namespace
from pathlib import Path

import numpy as np
import torch

from data import input_title
from data.face_folder import Place
from deploy.arrays import read_array, read_list
from engine import results_folder
from engine.evaluate import RestoredFaces, score_faces
from engine.evaluation_set import choose_faces
from engine.score_report import ScoreReport
from metrics.protocols import usual_protocols
from tools.targets import check_apart
from utils.errors import UserError, run_main
from utils.folder_lock import require_folder
from utils.images import BadImage, Skipped, grid, output_names, quantize, save_image
from utils.option_types import SIZE, at_least, file_path, text, tool_parser
from utils.version import VERSION, command, commit

ENDINGS = (".npz", ".npy", ".bin", "_0.npz", "_0.npy", "_0.bin")
SHOWN = 8  # faces in samples.png


def output_files(options, names):
    """Returns the output file of each input, None where there is none. Raises UserError if there are none at all."""
    if options.npz_list:
        files = read_list(options.npz_list, "--npz_list")
        if len(files) != len(names):
            raise UserError(f"--npz_list {options.npz_list}: it names {len(files)} files, and there are {len(names)} "
                            f"inputs; it needs one line per input, in their order.")
        return files
    files = [next(filter(Path.is_file, (Path(options.outputs, name + ending) for ending in ENDINGS)), None)
             for name in names]
    if not any(files):
        raise UserError(f"OUTPUTS {options.outputs}: no output of any of the {len(names)} inputs, e.g. {names[0]}.npz, "
                        f"is there.")
    return files


def score(options, faces, names, files, skipped):
    """Writes the restored faces and samples.png. Returns ([names], [rows of scores], [protocols]) of the scored."""
    protocols = usual_protocols(options.load_size)
    scored, rows, shown = [], [], []
    for place, (name, file) in enumerate(zip(names, files, strict=True)):
        try:
            sample = faces[Place(0, place)]
            if "lr" not in sample:
                raise BadImage(*sample["notes"][-1][1:])
            if file is None:
                raise BadImage(faces.paths[place], f"no output of it is in {options.outputs}")
            restored = torch.from_numpy(read_array(file, options.load_size))
        except BadImage as error:
            skipped.add(error)
            continue
        low = np.asarray(sample.get("given", sample["lr"]))  # not a smaller copy that the network got
        high = np.asarray(sample["hr"]) if "hr" in sample else None
        image = quantize(restored, "round")[0]
        require_folder(Path(options.target))
        save_image(image, Path(options.target) / "restored" / f"{name}.png")
        if len(shown) < SHOWN:
            shown.append([low, image, *([] if high is None else [high])])
        if high is not None and not sample.get("unscored"):
            of_face = RestoredFaces([place], low[None], restored, None, high[None], None, {})
            scored.append(f"{name}.png")
            rows += score_faces(of_face, protocols)
    if not shown:
        raise UserError(f"none of the {len(names)} outputs can be used.", status=1)
    save_image(grid(shown, titles=["LR", "SR", "HR"][:len(shown[0])]), Path(options.target) / "samples.png")
    return scored, rows, protocols


def main():
    parser = tool_parser(__doc__)
    parser.add_argument("outputs", help="folder of the runtime's outputs")
    parser.add_argument("target", help="folder for the images and scores; must not overlap OUTPUTS")
    parser.add_argument("--npz_list", type=file_path, default=None, help="list of the outputs (default: by name)")
    parser.add_argument("--dataroot", type=text, default=None, help="folder of the input images (default: none)")
    parser.add_argument("--gtroot", type=text, default=None, help="folder of the references (default: none)")
    parser.add_argument("--dataset_name", type=text, default="blind", help="task (default: blind)")
    parser.add_argument("--degradation", type=text, default=None, help="how --clean made the inputs (default: the "
                                                                       "dataset's own)")
    parser.add_argument("--load_size", type=at_least(16, largest=SIZE), default=512,
                        help="side of the network's square output in pixels (default: 512)")
    parser.add_argument("--scale_factor", type=at_least(1, largest=SIZE), default=8,
                        help="factor by which --clean made the inputs smaller (default: 8)")
    options = parser.parse_args()
    if not (options.dataroot or options.gtroot):
        raise UserError("give the folder that the inputs were made of: --dataroot, or --gtroot with --clean.")
    check_apart(options.outputs, options.target, "OUTPUTS")
    target = Path(options.target).absolute()
    evaluation = Namespace(**vars(options), min_size=1, max_images=None, priors="none", name=target.name,
                           results_dir=str(target.parent), fid_reference=None, **dict.fromkeys(results_folder.FILES))
    results_folder.check_apart(evaluation)
    faces = choose_faces(evaluation, None).faces
    names = output_names(faces.paths, options.dataroot or options.gtroot, "")
    files = output_files(options, names)
    skipped = Skipped()
    with contextlib.ExitStack() as held:
        results_folder.prepare(evaluation, held)
        report_on(options, *score(options, faces, names, files, skipped))
    return skipped.exit_status()


def report_on(options, scored, rows, protocols):
    """Prints the table and writes scores.json and faces.csv."""
    report = ScoreReport(scored, rows, {"input": input_title(options.dataset_name, options.degradation),
                                        "restored": "outputs"}, protocols, None, [])
    if not report.is_empty():
        for line in itertools.chain(report.lines(), [report.accuracy_line()]):
            print(line)
        report.write_json(Path(options.target) / "scores.json", {"outputs": options.outputs, "version": VERSION,
                                                                 "commit": commit(), "command": command()})
        report.write_csv(Path(options.target) / "faces.csv")
    print(f"Images: {options.target}/restored, {options.target}/samples.png")


if __name__ == "__main__":
    run_main(main)
