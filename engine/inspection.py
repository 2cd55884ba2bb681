# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""A look at the validation faces before a training starts, so that damaged ones do not end it when it validates."""
from __future__ import annotations

import argparse

from data.face_folder import FaceFolder
from data.loader import BadImages, InOrder, make_loader
from utils import distributed


def look_through(faces: FaceFolder, options: argparse.Namespace) -> None:
    """Makes each sample of a dataset once, shared among the ranks, and prints which files are bad.

    Raises UserError, on every rank, under the conditions of BadImages.check: the run would end with it later.
    """
    order = InOrder(len(faces), options.val_batch_size, distributed.rank(), distributed.world_size())
    batches = make_loader(faces, order, options.workers, data_timeout=options.data_timeout)
    bad = [note for batch in batches for note in batch["notes"] if note[0] == "bad"]
    notes = [note for part in distributed.gather(bad) for note in part]
    log = print if distributed.is_main() else lambda line: None
    BadImages(len(faces), options.on_bad_image, log).check({"notes": notes, "complete": True})
