"""Degraded and true faces from any folder of good ones (FFHQ, CelebA-HQ): for blind restoration, SPARNetHD's task."""
from data.degradations import FACE_SIZE, degrade_ffhq, grey
from data.square_folder import SquareFolder


class FFHQDataset(SquareFolder):
    """Samples {'lr', 'hr'}: uint8 HWC RGB, load_size square; lr is hr through the published chain of degradations.

    The chain counts in pixels of a 512-pixel face, so it is done at that size whatever load_size is, and both pictures
    are then taken to load_size by PIL BICUBIC: a network of 128 pixels sees the same faces, only smaller.
    augmentation: 'none' leaves out the flip; the degradation stays, drawn from (seed, epoch, index) like all else.
    """

    smallest_square = FACE_SIZE

    def make_pair(self, face, rng, path, mirrored):
        hr, lr, drawn = degrade_ffhq(self.to_side(face, FACE_SIZE), rng)
        if self.load_size > FACE_SIZE:  # the target shows more than the chain saw
            hr = grey(face) if drawn.get("grey") else face
        return {"lr": self.to_side(lr, self.load_size), "hr": self.to_side(hr, self.load_size)}
