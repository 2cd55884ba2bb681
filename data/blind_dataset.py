"""Degraded and clean faces from any folder of clean faces: blind restoration with GPEN's or a harder degradation."""
from data.degradations import FACE_SIZE, degrade_gpen, degrade_hard
from data.square_folder import SquareFolder, area


class BlindDataset(SquareFolder):
    """Samples {'lr', 'hr'}: uint8 HWC RGB, load_size square; lr is hr degraded by GPEN's published chain.

    The chain's ranges are in pixels at the network's size, which is 512 or more in the publication. For a smaller
    network the chain runs at 512 pixels, and INTER_AREA then resizes both images to load_size.
    augmentation: 'none' disables the flip only. The degradation depends on (seed, epoch, index).
    """

    to_side = staticmethod(area)
    smallest_square = FACE_SIZE
    chain = staticmethod(degrade_gpen)

    def make_pair(self, face, rng, path, mirrored):
        hr, lr, _ = self.chain(face, rng)
        return {"lr": self.to_side(lr, self.load_size), "hr": self.to_side(hr, self.load_size)}


class BlindHardDataset(BlindDataset):
    """BlindDataset with a harder chain of two passes."""

    chain = staticmethod(degrade_hard)
