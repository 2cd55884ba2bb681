# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""CelebAMask-HQ (Lee et al., CVPR 2020): faces with part masks, as published or as class index maps."""
import os
from pathlib import Path

import numpy as np

from data.face_folder import IMAGES, MASKS, OFFICIAL, PARTS
from data.face_parts import CLASSES, MASK_PARTS
from data.prior_folder import PriorFolder
from data.priors import cut_part, cut_parts, mirror_maps
from utils.file_list import find_files
from utils.images import BadImage, open_image
from utils.names import normalised

LAYOUTS = (f"{OFFICIAL}/N.jpg with {PARTS}/.../NNNNN_part.png, and for {IMAGES}/NAME.jpg with {MASKS}/NAME.png "
           f"(indices of {len(CLASSES)} classes)")


def open_masks(root):
    """Returns the PartFiles or IndexMaps beside the folder of faces `root`, or None if there are none."""
    faces = Path(root).absolute()
    if faces.name == OFFICIAL and (faces.parent / PARTS).is_dir():
        return PartFiles(faces.parent / PARTS)
    if faces.name == IMAGES and (faces.parent / MASKS).is_dir():
        return IndexMaps(faces, faces.parent / MASKS)
    return None


class CelebAMaskDataset(PriorFolder):
    """11 parsing maps (data/face_parts.py: MASK_PARTS), cut out of masks of any size. A part without a mask is black.

    Supported layouts: CelebA-HQ-img/N.jpg beside CelebAMask-HQ-mask-anno, which holds NNNNN_part.png at any depth;
    and images/NAME.jpg beside masks/NAME.png, index maps of the 19 classes.
    """

    parsing_names = MASK_PARTS
    default_priors = "parsing"
    layouts = LAYOUTS

    def open_annotations(self, root):
        self.masks = open_masks(root)
        return [self.masks]

    def parsing(self, path, view):
        maps = self.masks.cut(path, view, self.load_size // 2)
        return mirror_maps(maps, MASK_PARTS) if view.mirrored else maps


class PartFiles:
    """CelebAMask-HQ as published: one PNG file per part, white inside the part, at any depth below `folder`."""

    def __init__(self, folder):
        self.folders = {name.partition("_")[0]: parent
                        for parent, name in map(os.path.split, find_files(str(folder), {".png"}, "masks"))}

    def key(self, path):
        number = self._number(path)
        return number if number in self.folders else None

    def cut(self, path, view, size):
        """Returns uint8 [size, size, 11]: the parts within the view, not mirrored. Parts may overlap, as in the files.

        Raises BadImage if a mask has another aspect ratio than its image.
        """
        number = self._number(path)
        maps = np.zeros((size, size, len(MASK_PARTS)), np.uint8)
        for place, part in enumerate(MASK_PARTS):
            mask = self._part(number, part)
            if mask is not None:
                maps[..., place] = cut_part(mask, box_in(view, mask, path), size)
        return maps

    def index_map(self, path):
        """Returns uint8 [H, W], indices in CLASSES. Where parts overlap, the later class wins, as in the official tool.

        Raises BadImage if no mask has a known name or the masks differ in size.
        """
        number = self._number(path)
        parts = {index: self._part(number, name) for index, name in enumerate(CLASSES)}
        parts = {index: mask for index, mask in parts.items() if mask is not None}
        if not parts:
            raise BadImage(path, f"none of its masks has a known name ({number}_PART.png)")
        index_map = np.zeros(next(iter(parts.values())).shape, np.uint8)
        for index, mask in parts.items():
            if mask.shape != index_map.shape:
                raise BadImage(path, f"its mask {number}_{CLASSES[index]}.png differs in size from its other masks")
            index_map[mask > 127] = index
        return index_map

    def _part(self, number, part):
        """Returns uint8 [H, W], 255 inside the part, or None if the face has no such mask."""
        file = os.path.join(self.folders[number], f"{number}_{part}.png")
        return np.asarray(open_image(file).convert("L")) if os.path.exists(file) else None

    @staticmethod
    def _number(path):
        return Path(path).stem.zfill(5)


class IndexMaps:
    """One PNG file per face below `folder`, with the face's relative path; each pixel is an index in CLASSES."""

    def __init__(self, faces, folder):
        self.faces, self.folder = faces, folder
        names = (os.path.relpath(path, folder) for path in find_files(str(folder), {".png"}, "masks"))
        self.names = {normalised(name): name for name in names}

    def key(self, path):
        """Returns the name of the face's map, or None; names are compared in Unicode's composed form."""
        name = os.path.splitext(os.path.relpath(os.path.abspath(path), self.faces))[0] + ".png"
        return self.names.get(normalised(name))

    def cut(self, path, view, size):
        """Returns uint8 [size, size, 11]: the parts within the view, not mirrored; BadImage if the map is invalid."""
        index_map = self.index_map(path)
        return cut_parts(index_map, box_in(view, index_map, path), size)

    def index_map(self, path):
        """Returns uint8 [H, W], indices in CLASSES; raises BadImage for an invalid map."""
        file = self.folder / self.key(path)
        return index_array(open_image(file), file)


def index_array(image, file):
    """Returns uint8 [H, W], the index map in a PIL image from `file`; raises BadImage if invalid."""
    if image.mode not in ("L", "P"):
        raise BadImage(file, f"an index map must have one 8-bit channel (mode L or P), but its mode is {image.mode}")
    return checked_indices(np.asarray(image), file)  # for mode P: the palette indices, not the colours


def checked_indices(index_map, file):
    """Returns `index_map`, uint8 [H, W], unchanged; raises BadImage, naming `file`, for unknown classes."""
    if index_map.max() >= len(CLASSES):
        raise BadImage(file, f"class {index_map.max()} where 0 to {len(CLASSES) - 1} are expected")
    return index_map


def box_in(view, mask, path):
    """Returns the view's box (left, top, right, bottom) in pixels of a mask [H, W], which may differ in size.

    path: the view's image, for messages. Raises BadImage if the aspect ratios differ by more than about one pixel.
    """
    (height, width), (whole_width, whole_height) = mask.shape, view.size
    if abs(width * whole_height - height * whole_width) > max(view.size):
        raise BadImage(path, f"{whole_width}x{whole_height} pixels, but its mask has {width}x{height}: another shape")
    across, down = width / whole_width, height / whole_height
    left, top, right, bottom = view.box
    return left * across, top * down, right * across, bottom * down
