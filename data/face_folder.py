"""What all datasets of faces share: a list of files, randomness by sample, and the care for damaged files."""
import os
from typing import NamedTuple

import numpy as np
from torch.utils.data import Dataset

from utils.images import BadImage, list_images, read_rgb

# The folder of faces, the folder of their parts' masks beside it: CelebAMask-HQ as published, and maps of indices.
OFFICIAL, PARTS = "CelebA-HQ-img", "CelebAMask-HQ-mask-anno"
IMAGES, MASKS = "images", "masks"
MAX_REPLACEMENTS = 100  # in a row; so many damaged neighbours mean that the folder is not what it should be


class Place(NamedTuple):
    """Where a sample stands in the training: its epoch, and its index in the dataset."""
    epoch: int
    index: int


class FaceFolder(Dataset):
    """Base of the datasets. A subclass makes a sample from one picture: `make_sample(image, rng, path)`.

    trains: whether a network can be trained on it (there is an hr to each lr, and --augmentation is known).
    aligns: whether --augmentation aligned is known. caches: whether it takes cache_folder.
    takes_priors: whether it takes priors (data/prior_folder.py).
    enlarges: whether it is made for pictures smaller than load_size, so that none of them is worth a note.
    warnings: lines for the start of the log, on what was found to be amiss when the dataset was made.
    input_dataset: name of the dataset that reads a folder of such inputs, in place of making them (newtest.py's
    --dataroot). input_title: what the input is called where it is scored beside the output.

    paths: files, in a fixed order. seed: a sample's randomness comes from (seed, epoch, index) alone, so that
    neither workers nor the order of arrival nor a resumed run change it. min_size: a picture whose shorter side
    is smaller counts as a bad one. load_size: pictures smaller than it are used, and counted.

    Samples carry `index`, `replaced` (another file stands in) and, in `notes`, a list of (kind, path, what):
    ("bad", ...) for each damaged file that was replaced (by the next one in the list that can be read),
    ("small", ...) for a picture that had to be enlarged, ("cache", ...) for one that could not be kept as asked.
    """

    trains = True
    aligns = False
    caches = False
    takes_priors = False
    enlarges = False
    warnings = ()
    input_dataset = "single"
    input_title = "bicubic"

    @classmethod
    def list_faces(cls, folder, option, index_folder=None):
        """FileList of the faces below `folder`: all pictures, but for the masks where their folder lies beside theirs.

        As utils.images.list_images, which see. A dataset may know others that are no faces.
        """
        for faces, masks in ((OFFICIAL, PARTS), (IMAGES, MASKS)):
            if all(os.path.isdir(os.path.join(folder, name)) for name in (faces, masks)):
                return list_images(os.path.join(folder, faces), option, index_folder)
        return list_images(folder, option, index_folder)

    def __init__(self, paths, load_size, seed=0, min_size=0, on_bad_image="replace"):
        self.paths = paths
        self.load_size = load_size
        self.seed = seed
        self.min_size = min_size
        self.on_bad_image = on_bad_image

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, place):
        epoch, index = place
        rng = np.random.default_rng([self.seed, epoch, index])
        notes = []
        for attempt in range(MAX_REPLACEMENTS):
            path = self.paths[(index + attempt) % len(self.paths)]
            try:
                sample = self.make_sample(self.read(path, notes), rng, path)
            except BadImage as error:
                notes.append(("bad", error.path, error.reason))
                if self.on_bad_image == "stop":
                    return {"notes": notes}
                continue
            return sample | {"index": index, "replaced": attempt > 0, "notes": notes}
        return {"notes": notes}

    def read(self, path, notes):
        """The upright RGB PIL image at `path`; BadImage where it cannot be used, a note where it is small."""
        image = self.open_picture(path)
        size = f"{image.size[0]}x{image.size[1]} pixels"
        if min(image.size) < self.min_size:
            raise BadImage(path, f"{size}, smaller than --min_size {self.min_size}")
        if min(image.size) < self.load_size and not self.enlarges:
            notes.append(("small", path, size))
        return image

    def open_picture(self, path):
        """The upright RGB PIL image at `path`, or BadImage: where a dataset reads files that are no photographs."""
        return read_rgb(path)

    def make_sample(self, image, rng, path):
        """{'lr', 'hr', ...: uint8 HWC RGB} from what `read` gave of the picture at `path` and numpy's generator.

        May raise BadImage where what belongs to the picture (its reference, say) cannot be used.
        """
        raise NotImplementedError
