# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""What newtest.py takes beside the time of the network alone: reading, scoring and writing.

    python -m benchmarks.restoring [--pretrained sparnet] [--gtroot FACES] [--faces 300] [--cores 1] [--json FILE]

In alternation, newtest.py's Tester restores a folder of faces, and the network restores the same batches from memory.
Without --gtroot, the faces are drawn. The start of the program is not counted. `newtest / network` is the median over
the rounds.
"""
import contextlib
import io
import os
import statistics
import tempfile
from pathlib import Path

import torch

import utils.device
from benchmarks.measuring import alternate, machine, median_ratio, show
from data.drawn.builtin_faces import write_faces
from data.face_folder import FaceFolder
from engine.tester import Tester
from options.test_options import parse_test
from utils.background import usable_cores
from utils.errors import UserError, run_main
from utils.option_types import at_least, file_path, text, tool_parser


def main():
    parser = tool_parser(__doc__)
    parser.add_argument("--pretrained", default="sparnet", help="weights that ship; default: %(default)s")
    parser.add_argument("--gtroot", type=text, default=None, help="faces to restore; default: drawn ones")
    parser.add_argument("--faces", type=at_least(1), default=300, help="number of faces; default: %(default)s")
    parser.add_argument("--batch_size", type=at_least(1), default=16, help="faces per pass; default: %(default)s")
    parser.add_argument("--rounds", type=at_least(1), default=5, help="rounds; default: %(default)s")
    parser.add_argument("--cores", type=at_least(1), default=usable_cores(), help="cores to use; default: all")
    parser.add_argument("--json", type=file_path, default=None, help="JSON file to write; default: none")
    options = parser.parse_args()
    use_cores(options.cores)
    with tempfile.TemporaryDirectory() as folder:
        faces = chosen_faces(options, Path(folder))
        device = utils.device.pick_device("auto")
        words = ["--pretrained", options.pretrained, "--gtroot", faces, "--results_dir", folder, "--device", device,
                 "--batch_size", options.batch_size]
        first = tester(words, "first")
        batches = [batch["lr"] for batch in first._loader(first.dataset)]
        testers = iter([tester(words, f"round_{number}") for number in range(options.rounds)])

        def network():
            for batch in batches:
                first.restorer.restore_batch(batch)

        def newtest():
            with contextlib.redirect_stdout(io.StringIO()):
                next(testers).run()
        network()
        seconds = alternate({"network": network, "newtest": newtest}, options.rounds, device)
    count = sum(len(batch) for batch in batches)
    show("newtest.py against its network alone", [{
        "weights": options.pretrained, "faces": count, "batch": options.batch_size, "cores": options.cores,
        "network ms/face": statistics.median(seconds["network"]) / count * 1e3,
        "newtest ms/face": statistics.median(seconds["newtest"]) / count * 1e3,
        "newtest / network": median_ratio(seconds["newtest"], seconds["network"]),
        "network / newtest": median_ratio(seconds["network"], seconds["newtest"]),
        "machine": machine(device)}], options.json)


def use_cores(number):
    """Confines this process, and those that it starts, to `number` cores."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:number])
    elif number != usable_cores():
        raise UserError("--cores: this system cannot confine a program to some of its cores.")
    torch.set_num_threads(number)


def chosen_faces(options, folder):
    """Returns a folder of --faces faces: links to those of --gtroot, or drawn ones."""
    if not options.gtroot:
        write_faces(folder / "drawn", options.faces, 0, 128)
        return folder / "drawn" / "images"
    (folder / "faces").mkdir()
    for path in FaceFolder.list_faces(options.gtroot, "--gtroot")[:options.faces]:
        (folder / "faces" / Path(path).name).symlink_to(Path(path).resolve())
    return folder / "faces"


def tester(words, name):
    return Tester(parse_test([str(word) for word in (*words, "--name", name)]))


if __name__ == "__main__":
    run_main(main)
