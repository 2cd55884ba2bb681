"""Grey copies of a folder of pictures: inputs of a colourization that is scored against the coloured ones.

    python -m tools.grey_copies FACES TARGET
    python newtest.py --pth_path WEIGHTS --dataset_name colorization --dataroot TARGET --gtroot FACES

Each becomes a PNG file of its size and name, as nested as it was: ITU-R 601 luma in three equal channels.
"""
import argparse
import sys
from pathlib import Path

import numpy as np

from data.degradations import grey
from utils.errors import UserError, run_main
from utils.images import BadImage, list_images, output_names, read_rgb, save_image


def check_apart(source, target):
    """UserError where files written into `target` could replace, or be taken for, those of the folder `source`."""
    source, target = Path(source).resolve(), Path(target).resolve()
    if target.is_relative_to(source) or source.is_relative_to(target):
        raise UserError(f"TARGET {target} and FACES {source} lie within one another: give a folder apart from it.")


def copy_grey(folder, target):
    """Write the copies; returns how many. Pictures that cannot be read are named on stderr and left out."""
    check_apart(folder, target)
    paths = list_images(folder, "FACES")
    copied = 0
    for path, name in zip(paths, output_names(paths, folder), strict=True):
        try:
            image = read_rgb(path)
        except BadImage as error:
            print(f"warning: left out: {error}", file=sys.stderr)
            continue
        save_image(grey(np.asarray(image)), Path(target) / name)
        copied += 1
    if not copied:
        raise UserError(f"FACES: none of the {len(paths)} pictures below {folder} can be read.")
    return copied


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", help="folder of pictures, nested folders included")
    parser.add_argument("target", help="folder for the copies, apart from the first")
    a = parser.parse_args()
    print(f"{a.target}: {copy_grey(a.faces, a.target)} grey copies")


if __name__ == "__main__":
    run_main(main)
