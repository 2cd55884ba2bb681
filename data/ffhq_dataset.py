"""Degraded and clean faces from any folder of clean faces (FFHQ, CelebA-HQ): blind restoration as in SPARNetHD."""
from data.degradations import FACE_SIZE, degrade_ffhq, grey
from data.square_folder import SquareFolder


class FFHQDataset(SquareFolder):
    """Samples {'lr', 'hr'}: uint8 HWC RGB, load_size square; lr is hr degraded by SPARNetHD's published chain.

    The chain's ranges are in pixels of a 512-pixel face. It therefore runs at 512 pixels for every load_size, and
    PIL BICUBIC then resizes both images to load_size.
    augmentation: 'none' disables the flip only. The degradation depends on (seed, epoch, index).
    """

    smallest_square = FACE_SIZE

    def make_pair(self, face, rng, path, mirrored):
        hr, lr, drawn = degrade_ffhq(self.to_side(face, FACE_SIZE), rng)
        if self.load_size > FACE_SIZE:  # a target that went through 512 pixels would lack detail
            hr = grey(face) if drawn.get("grey") else face
        return {"lr": self.to_side(lr, self.load_size), "hr": self.to_side(hr, self.load_size)}
