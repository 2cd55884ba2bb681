# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Restores the faces in photos and puts them back; all else stays as it is.

    python newphoto.py PHOTO_OR_FOLDER --output_path OUT
    torchrun --nproc_per_node=8 newphoto.py FOLDER --output_path OUT
"""
import sys

from options.photo_options import parse_photo
from utils.errors import run_main
from utils.started_by import end_with_starters


def main():
    end_with_starters()
    options = parse_photo(sys.argv[1:])
    from engine.photo_run import PhotoRun  # not at the top: torch takes seconds to import, --help needs none
    from utils import distributed
    with distributed.session():
        return PhotoRun(options).run()


if __name__ == "__main__":
    run_main(main)
