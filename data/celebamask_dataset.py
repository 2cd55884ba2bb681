"""CelebAMask-HQ (Lee et al., CVPR 2020): faces with masks of their parts, as published or as maps of indices."""
import os
from pathlib import Path

import numpy as np

from data.face_folder import IMAGES, MASKS, OFFICIAL, PARTS
from data.face_parts import CLASSES, MASK_PARTS
from data.prior_folder import PriorFolder
from data.priors import cut_part, cut_parts, mirror_maps
from utils.file_list import list_files
from utils.images import BadImage, open_image

LAYOUTS = (f"{OFFICIAL}/N.jpg with {PARTS}/.../NNNNN_part.png, and for {IMAGES}/NAME.jpg with {MASKS}/NAME.png "
           f"(indices of {len(CLASSES)} classes)")


def open_masks(root):
    """PartFiles or IndexMaps of the faces below `root`, None where neither is beside them."""
    faces = Path(root).absolute()
    if faces.name == OFFICIAL and (faces.parent / PARTS).is_dir():
        return PartFiles(faces.parent / PARTS)
    if faces.name == IMAGES and (faces.parent / MASKS).is_dir():
        return IndexMaps(faces, faces.parent / MASKS)
    return None


class CelebAMaskDataset(PriorFolder):
    """11 parsing maps (data/priors.py: MASK_PARTS), cut out of masks of any size. A part without a mask is black.

    Recognised: CelebA-HQ-img/N.jpg beside CelebAMask-HQ-mask-anno, where NNNNN_part.png lie in numbered folders, in
    one or in none; and images/NAME.jpg beside masks/NAME.png, maps of the 19 classes' indices.
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
    """CelebAMask-HQ as published: a PNG file a part, white where it is, somewhere below `folder`."""

    def __init__(self, folder):
        self.folders = {name.partition("_")[0]: parent for parent, _, files in os.walk(folder, followlinks=True)
                        for name in files if name.endswith(".png")}

    def key(self, path):
        number = self._number(path)
        return number if number in self.folders else None

    def cut(self, path, view, size):
        """uint8 [size, size, 11]: the parts within the view, not mirrored. Parts may overlap, as in the files."""
        number = self._number(path)
        maps = np.zeros((size, size, len(MASK_PARTS)), np.uint8)
        for place, part in enumerate(MASK_PARTS):
            mask = self._part(number, part)
            if mask is not None:
                maps[..., place] = cut_part(mask, box_in(view, mask, path), size)
        return maps

    def index_map(self, path):
        """uint8 [H, W] of indices in CLASSES. Where parts overlap the later class shows, as in the set's own tool."""
        number = self._number(path)
        parts = {index: self._part(number, name) for index, name in enumerate(CLASSES)}
        parts = {index: mask for index, mask in parts.items() if mask is not None}
        if not parts:
            raise BadImage(path, f"none of its masks has a name that is known: {number}_PART.png")
        index_map = np.zeros(next(iter(parts.values())).shape, np.uint8)
        for index, mask in parts.items():
            if mask.shape != index_map.shape:
                raise BadImage(path, f"its mask {number}_{CLASSES[index]}.png has another size than those before")
            index_map[mask > 127] = index
        return index_map

    def _part(self, number, part):
        """uint8 [H, W], 255 where the part is; None where the face has none."""
        file = os.path.join(self.folders[number], f"{number}_{part}.png")
        return np.asarray(open_image(file).convert("L")) if os.path.exists(file) else None

    @staticmethod
    def _number(path):
        return Path(path).stem.zfill(5)


class IndexMaps:
    """A PNG file a face: the index in CLASSES of what each pixel shows; named as the face, below `folder`."""

    def __init__(self, faces, folder):
        self.faces, self.folder = faces, folder
        self.names = {os.path.relpath(path, folder) for path in list_files(str(folder), {".png"})}

    def key(self, path):
        name = self._name(path)
        return name if name in self.names else None

    def cut(self, path, view, size):
        """uint8 [size, size, 11]: the parts within the view, not mirrored. BadImage for what is not such a map."""
        index_map = self.index_map(path)
        return cut_parts(index_map, box_in(view, index_map, path), size)

    def index_map(self, path):
        """uint8 [H, W] of indices in CLASSES; BadImage for what is not such a map."""
        file = self.folder / self._name(path)
        return index_array(open_image(file), file)

    def _name(self, path):
        return os.path.splitext(os.path.relpath(os.path.abspath(path), self.faces))[0] + ".png"


def index_array(image, file):
    """uint8 [H, W] of indices in CLASSES, from the PIL image that `file` holds; BadImage for what is not such a map."""
    if image.mode not in ("L", "P"):
        raise BadImage(file, f"a map of indices has 8 bits and one channel, this is of mode {image.mode}")
    return checked_indices(np.asarray(image), file)  # the indices of a palette, not its colours


def checked_indices(index_map, file):
    """Returns `index_map`, uint8 [H, W], unchanged; raises BadImage, naming `file`, for unknown classes."""
    if index_map.max() >= len(CLASSES):
        raise BadImage(file, f"class {index_map.max()} where 0 to {len(CLASSES) - 1} are expected")
    return index_map


def box_in(view, mask, path):
    """The view's box in pixels of a mask [H, W] of the picture at `path`, which may have another size.

    BadImage where it has another shape, by more than a pixel: it would be squashed.
    """
    (height, width), (whole_width, whole_height) = mask.shape, view.size
    if abs(width * whole_height - height * whole_width) > max(view.size):
        raise BadImage(path, f"{whole_width}x{whole_height} pixels, but its mask has {width}x{height}: another shape")
    across, down = width / whole_width, height / whole_height
    left, top, right, bottom = view.box
    return left * across, top * down, right * across, bottom * down
