# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""newphoto.py within the test's process."""
from engine.photo_run import PhotoRun
from options.photo_options import parse_photo


def photo_caller(folder, weights):
    """Returns call(photos, *words, out="out") -> (status, output folder, in `folder`): newphoto.py with own weights."""
    def call(photos, *words, out="out"):
        options = parse_photo([str(photos), "--output_path", str(folder / out), "--pth_path", str(weights),
                               "--device", "cpu", *map(str, words)])
        return PhotoRun(options).run(), folder / out
    return call
