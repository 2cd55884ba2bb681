"""Degraded and true faces from any folder of good ones: blind restoration as GPEN was trained for it, and harder."""
from data.degradations import FACE_SIZE, degrade_gpen, degrade_hard
from data.square_folder import SquareFolder, area


class BlindDataset(SquareFolder):
    """Samples {'lr', 'hr'}: uint8 HWC RGB, load_size square; lr is hr through GPEN's published chain of degradations.

    The chain counts in pixels of the network's size, 512 and more as published. For a smaller network it is done at
    512, and both pictures are then taken to load_size by INTER_AREA: it sees the same faces, only smaller.
    augmentation: 'none' leaves out the flip; the degradation stays, drawn from (seed, epoch, index) like all else.
    """

    to_side = staticmethod(area)
    smallest_square = FACE_SIZE
    chain = staticmethod(degrade_gpen)

    def make_pair(self, face, rng, path, mirrored):
        hr, lr, _ = self.chain(face, rng)
        return {"lr": self.to_side(lr, self.load_size), "hr": self.to_side(hr, self.load_size)}


class BlindHardDataset(BlindDataset):
    """As BlindDataset, with the harder chain of two passes."""

    chain = staticmethod(degrade_hard)
