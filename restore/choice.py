# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Chooses among the weights that ship by the size of the images to restore (--pretrained auto)."""
from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

from data.face_folder import FaceFolder
from restore.description import Description, read_metadata
from utils.errors import UserError
from utils.images import BadImage, read_size
from utils.names import printable
from utils.pretrained import find_pretrained, pretrained_names

AUTO = "auto"


def choose_for_folder(folder: str, option: str, leave_out: Collection[Path] = ()) -> tuple[str, str]:
    """Returns (name of shipped weights, a line that says why) for the images below `folder`; only sizes are read.

    option: that names the folder. leave_out: folders that are not searched. Raises UserError as list_faces does, or if
    no image can be read.
    """
    sides: Counter[int] = Counter()
    for path in FaceFolder.list_faces(folder, option, leave_out=leave_out):
        try:
            sides[min(read_size(path))] += 1
        except BadImage:
            continue  # it is reported when it is restored
    if not sides:
        raise UserError(f"{option} {printable(folder)}: none of its images can be read: --pretrained {AUTO} cannot "
                        f"choose by their size.")
    described = {name: read_metadata(find_pretrained(name)) for name in pretrained_names()}
    name = choose(sides, described)
    smallest, largest = described[name].trained_sides()
    fit = sum(count for side, count in sides.items() if smallest <= side <= largest)
    trained = f"{smallest}" if smallest == largest else f"{smallest} to {largest}"
    return name, (f"--pretrained {AUTO}: {name}, trained on faces of {trained} pixels: {fit} of {sides.total()} images "
                  f"have such a size.")


def choose(sides: Mapping[int, int], described: Mapping[str, Description]) -> str:
    """Returns the name of the weights that were trained on the sizes of most images.

    sides: {shorter side in pixels: number of images}. described: {name: Description}. Among equals it is the one whose
    sizes are nearest to those of the images, then the most special one. Weights of another task, which no size decides,
    are never chosen; some others must be there.
    """
    def unfitness(name):
        smallest, largest = described[name].trained_sides()
        fit = sum(count for side, count in sides.items() if smallest <= side <= largest)
        apart = sum(count * misfit(described[name], side)[0] for side, count in sides.items())
        return -fit, apart, largest - smallest, name
    return min((name for name in described if not described[name].other_task()), key=unfitness)


def misfit(described: Description, side: int) -> tuple[float, int]:
    """Returns what is lowest for the weights that fit a face of this side in pixels best.

    That is (distance to the sizes of their training, as the logarithm of a ratio; their number of sizes): among those
    that fit, the most special ones are best.
    """
    smallest, largest = described.trained_sides()
    outside = max(smallest / max(side, 1), side / largest, 1.0)
    return math.log(outside), largest - smallest
