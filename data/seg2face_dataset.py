"""Maps of a face's parts and the faces: GPEN's synthesis of a face from its segmentation."""
import cv2
import numpy as np
from PIL import Image

from data.celebamask_dataset import LAYOUTS, checked_indices, index_array, open_masks
from data.face_parts import MIRRORED_CLASSES
from data.pairs import Degradation, area
from data.prior_folder import annotated
from data.single_dataset import SingleDataset
from data.square_folder import SquareFolder
from utils.images import BadImage, centre_square, list_images, open_image

# RGB of each of CLASSES (data/face_parts.py), in order: the colours in which CelebAMask-HQ's own tools show its maps.
PALETTE = np.array([
    (0, 0, 0), (204, 0, 0), (76, 153, 0), (204, 204, 0), (51, 51, 255), (204, 0, 204), (0, 255, 255), (255, 204, 204),
    (102, 51, 0), (255, 0, 0), (102, 204, 0), (255, 255, 0), (0, 0, 153), (0, 0, 204), (255, 51, 153), (0, 204, 204),
    (0, 51, 0), (255, 153, 51), (0, 204, 0)], np.uint8)
NEAR, MOSTLY = 24, 0.65  # a map in colours: of each channel, in 0..255, and of the pixels


def centred_map(values, side):
    """The centred square of a map [H, W] or [H, W, 3], as side x side: the nearest pixel, for classes do not mix."""
    left, top, right, bottom = centre_square(values.shape[1::-1])
    return cv2.resize(values[top:bottom, left:right], (side, side), interpolation=cv2.INTER_NEAREST_EXACT)


class Seg2FaceDataset(SquareFolder):
    """Samples {'lr', 'hr'}: uint8 HWC RGB, load_size square; hr is a face, lr its map of classes in PALETTE's colours.

    Reads what --dataset_name celebamask reads, and so the built-in faces, too. Faces without a map are left out of
    paths, and told in `warnings`. A flip also exchanges left and right parts.
    paths: a FileList, as list_faces gives it.
    """

    degradable = False
    input_dataset = "map_inputs"
    default_degradation = Degradation(make=None, to_side=area)  # lr is the map

    def __init__(self, paths, load_size, *arguments, **options):
        self.masks = open_masks(paths.root)
        paths, self.warnings = annotated(paths, [self.masks], LAYOUTS)
        super().__init__(paths, load_size, *arguments, **options)

    def make_pair(self, face, rng, path, mirrored):
        index_map = centred_map(self.masks.index_map(path), self.load_size)
        if mirrored:
            index_map = MIRRORED_CLASSES[index_map[:, ::-1]]
        return {"lr": PALETTE[index_map], "hr": face}


def check_colours(picture, path):
    """BadImage unless most of a uint8 [H, W, 3] picture has PALETTE's colours; a map's JPEG file blurs its edges."""
    if picture.any() and not np.ptp(picture, axis=2).any():
        raise BadImage(path, "no map in colours, but grey in three channels; indices have one channel")
    near = np.zeros(picture.shape[:2], bool)
    for colour in PALETTE.astype(np.int16):
        near |= np.abs(picture - colour).max(2) <= NEAR
    if near.mean() < MOSTLY:
        raise BadImage(path, f"no map of a face's parts: {near.mean():.0%} of it has their colours")


class MapInputs(SingleDataset):
    """As SingleDataset, of maps: of the 19 classes' indices (one channel of 8 bits), or in colours already."""

    input_dataset = "map_inputs"
    list_faces = staticmethod(list_images)  # maps, not what may lie beside them

    def open_picture(self, path):
        image = open_image(path)
        if image.mode in ("RGB", "RGBA"):
            return self.from_array(np.asarray(super().open_picture(path)), path)
        return self.from_array(index_array(image, path), path)

    @staticmethod
    def from_array(array, name):
        """Returns the PIL image in PALETTE's colours of a uint8 map: indices [H, W], or such colours [H, W, 3]."""
        if array.ndim == 2:
            return Image.fromarray(PALETTE[checked_indices(array, name)])
        image = SingleDataset.from_array(array, name)
        check_colours(array, name)
        return image

    @staticmethod
    def to_input(image, size):
        return centred_map(np.asarray(image), size)
