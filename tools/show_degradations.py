# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Shows a degradation chain: each face of a folder beside several degraded versions of it.

    python -m tools.show_degradations FACES out.png --chain ffhq
"""

import numpy as np
from PIL import Image

from data.degradations import CHAINS, FACE_SIZE
from data.face_folder import FaceFolder
from tools.targets import check_apart
from utils.errors import UserError, run_main
from utils.images import BadImage, Skipped, centre_square, check_writable, grid, read_rgb, save_shown
from utils.images import resize as resize_whole
from utils.option_types import SIZE, at_least, tool_parser


def main():
    parser = tool_parser(__doc__)
    parser.add_argument("faces", help="folder of faces")
    parser.add_argument("target", help="image to write; each row shows a face, then its degraded versions")
    parser.add_argument("--chain", choices=list(CHAINS), default="ffhq", help="degradation chain (default: ffhq)")
    parser.add_argument("--size", type=at_least(1, largest=SIZE), default=256,
                        help="side of a face in the written image, in pixels (default: 256)")
    parser.add_argument("--rows", type=at_least(1, largest=1000), default=4, help="number of faces (default: 4)")
    parser.add_argument("--columns", type=at_least(1, largest=1000), default=5,
                        help="number of degraded versions per face (default: 5)")
    parser.add_argument("--seed", type=at_least(0), default=0, help="seed of the random degradations (default: 0)")
    a = parser.parse_args()
    check_apart(a.faces, a.target)
    check_writable(a.target)
    rows, skipped = [], Skipped()
    for path in FaceFolder.list_faces(a.faces, "FACES"):
        if len(rows) == a.rows:
            break
        try:
            image = read_rgb(path)
        except BadImage as error:
            skipped.add(error)
            continue
        y = len(rows)
        face = np.asarray(resize_whole(image, FACE_SIZE, centre_square(image.size)))
        rows.append([face])
        for x in range(a.columns):
            _, low, record = CHAINS[a.chain](face, np.random.default_rng([a.seed, y, x]))
            rows[-1].append(low)
            print(f"row {y + 1} column {x + 2}: " + ", ".join(
                f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in record.items()))
    if not rows:
        raise UserError(f"FACES: none of the images in {a.faces} can be read: {next(iter(skipped.messages))}; "
                        f"fix or remove it.")
    shown = [[np.asarray(resize_whole(Image.fromarray(version), a.size)) for version in row] for row in rows]
    save_shown(grid(shown), a.target)
    print(f"Look at {a.target} (face | degraded ...)")
    return skipped.exit_status()


if __name__ == "__main__":
    run_main(main)
