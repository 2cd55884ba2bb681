# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Checks a run before it starts; the scripts of test/ call this before they move an earlier run's folder aside.

    python -m tools.check_run --ranks=8 --moved=test/output/0 newtrain.py --dataroot FACES ...

Does what the program does until its first step or face, in a temporary folder: options, presets, data, weights,
networks and device are checked. Each --moved FILE_OR_FOLDER will be moved to a --to NAME: nothing that the
run needs may lie there, only its output in a moved folder, which is made anew.
Prints the device's kind (npu, cuda or cpu); an error is one line, with the program's exit status.
"""
import argparse
import contextlib
import io
import os
import sys
import tempfile
from pathlib import Path

from data.loader import require_images
from engine import checkpoint
from engine.tester import Tester
from engine.trainer import Trainer
from options.presets import find_preset, read_preset
from options.test_options import parse_test
from options.train_options import parse_train
from restore.description import OPTIONS_FILE
from utils.errors import UserError, run_main
from utils.folder_lock import refuse_if_in_use
from utils.links import find_way_into, leads_into
from utils.option_types import at_least, tool_parser
from utils.started_by import end_with_starters

ROOT = Path(__file__).resolve().parents[1]
OUTPUT_OPTIONS = {"checkpoints_dir", "results_dir"}
# Names in the scripts, where they differ.
SCRIPT_NAMES = {"dataroot": "data_path", "gtroot": "data_path", "pretrain_model_path": "pth_path"}


def read_paths(options):
    """Returns {path: option} of all existing files and folders that the options name, and of the files beside them."""
    paths = {str(ROOT): "the project", sys.executable: "python3", sys.prefix: "python3"}
    if options.preset:
        preset = find_preset(options.preset)
        paths |= {str(path): "--preset" for path in (preset, *(v.path for v in read_preset(preset).values()))}
    for name, value in vars(options).items():
        for path in value if isinstance(value, list) else [value]:
            if name not in OUTPUT_OPTIONS and isinstance(path, str) and os.path.lexists(path):
                paths[path] = option = f"--{SCRIPT_NAMES.get(name, name)}"
                if os.path.isfile(path):
                    paths[os.path.join(os.path.dirname(path), OPTIONS_FILE)] = option
    return paths


def without_last_link(path):
    """Returns `path` as an absolute path in which only the last name may be a link."""
    parent, name = os.path.split(os.path.join(os.getcwd(), path).rstrip("/"))
    return os.path.join(os.path.realpath(parent), name)


def refuse_paths_in(folders, options, output):
    """Raises UserError if something that the run reads or writes leads into one of the folders."""
    for folder in folders:
        advice = f"{folder}, which this script moves aside before it starts: choose another place."
        for path, option in read_paths(options).items():
            way = find_way_into(path, folder) if option.startswith("--") else leads_into(path, folder) and path
            if way:
                how = "leads into" if way == path else "contains" if way == folder else f"leads through {way} into"
                raise UserError(f"{option}: {path} {how} {advice}")
        if output and leads_into(output, folder):
            raise UserError(f"--output_path: {output} leads into {advice}")


def refuse_output(folder, options, trains):
    """Raises UserError unless the run can write into its folder: no other process does, no earlier run lies there."""
    refuse_if_in_use(folder, "--output_path=")
    if checkpoint.list_states(folder) or trains and any(folder.glob("*_net_*.*")):
        raise UserError(f"{folder} contains an earlier run: choose another --output_path= or remove it")
    written = os.path.realpath(folder)
    for path, option in read_paths(options).items():
        if option.startswith("--") and leads_into(path, written):
            raise UserError(f"{option}: {path} leads into {folder}, into which this run writes: choose another "
                            f"--output_path=")
    there = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".check_", dir=there))
    except OSError as error:
        raise UserError(f"--output_path: cannot write into {there}: {error.strerror}") from None


def main(argv=None):
    parser = tool_parser(__doc__)
    parser.add_argument("--ranks", type=at_least(1), default=1, help="processes that the run will have")
    parser.add_argument("--moved", action="append", default=[], help="file or folder that will be moved before the run")
    parser.add_argument("--to", action="append", default=[], help="its new name")
    parser.add_argument("program", choices=["newtrain.py", "newtest.py"])
    parser.add_argument("words", nargs=argparse.REMAINDER, help="the program's options")
    call = parser.parse_args(argv)
    end_with_starters()
    trains = call.program == "newtrain.py"
    options = (parse_train if trains else parse_test)(call.words)
    output = "checkpoints_dir" if trains else "results_dir"
    folder = Path(getattr(options, output))
    moved = [without_last_link(path) for path in call.moved]
    made_anew = {without_last_link(path) for path in (folder, folder / options.name)} & set(moved)
    refuse_paths_in([*moved, *map(without_last_link, call.to)], options, None if made_anew else folder)
    if not made_anew:
        refuse_output(folder / options.name, options, trains)
    with tempfile.TemporaryDirectory() as temporary, contextlib.redirect_stdout(io.StringIO()):
        setattr(options, output, temporary)
        run = (Trainer if trains else Tester)(options)
        if trains:
            require_images(run.train_set, options, call.ranks)
            run.log.close()
    print(run.device.type)
    return 0


if __name__ == "__main__":
    run_main(main)
