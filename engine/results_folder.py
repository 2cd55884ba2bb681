# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The folder into which newtest.py writes: never one of its inputs, and never mixed with earlier results."""
from __future__ import annotations

import argparse
import contextlib
import os
from pathlib import Path

from utils.errors import UserError
from utils.folder_lock import move_aside, only_writer
from utils.links import leads_into
from utils.names import printable

FOLDERS = ("dataroot", "gtroot", "fid_reference")
FILES = ("pretrain_model_path", "lpips_path", "identity_path", "fid_path")
INPUTS = (*FOLDERS, *FILES)


def check_apart(options: argparse.Namespace) -> None:
    """Raises UserError if an input of newtest.py lies in the folder of results, or if all results lie among inputs.

    A folder of results further below an input folder is allowed: it is not searched for images.
    """
    results = Path(options.results_dir).resolve()
    emptied = os.path.realpath(results / options.name)  # which may be a link to a folder of inputs
    for name in INPUTS:
        value = getattr(options, name)
        if value and leads_into(value, emptied):
            raise UserError(f"--{name} {printable(value)} lies in {printable(results / options.name)}, where the "
                            f"results go: choose another --name or --results_dir.")
        if value and name in FOLDERS and Path(value).resolve() == results:
            raise UserError(f"--results_dir {printable(options.results_dir)} is the folder of --{name}: results would "
                            f"be read as inputs. Choose another --results_dir.")


def output_folders(options: argparse.Namespace) -> tuple[Path, ...]:
    """Returns the folders that must not be searched for inputs."""
    results = Path(options.results_dir)
    return results, results / options.name, results / options.name / "restored"


def prepare(options: argparse.Namespace, held: contextlib.ExitStack) -> Path:
    """Returns the folder of results, empty but for hidden files. Earlier results are moved to NAME.previous beside it.

    If there is such a folder already, they are moved to NAME.previous.2 and so on: nothing is removed. The folder
    itself stays, with its lock, which `held` receives; closing it releases the lock. Raises UserError if the folder
    cannot be written, or another process writes into it.
    """
    folder = Path(options.results_dir) / options.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held.enter_context(only_writer(folder, "--name"))
        move_aside(folder, "results")
        (folder / "restored").mkdir()
    except OSError as error:
        raise UserError(f"--results_dir: cannot write into {printable(folder)}: {error.strerror}.") from None
    return folder
