"""A folder of faces to restore: no reference, any size."""
import numpy as np

from data.face_folder import FaceFolder
from utils.images import centre_square, resize


class SingleDataset(FaceFolder):
    """Samples {'lr'}: the centred square of each picture, taken by PIL BICUBIC to load_size (uint8 HWC RGB).

    A 16-pixel face is so enlarged to what the network expects; one that was enlarged already stays as it is.
    """

    def make_sample(self, image, rng):
        return {"lr": np.asarray(resize(image, self.load_size, centre_square(image.size)))}
