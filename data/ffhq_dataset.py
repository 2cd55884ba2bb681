"""Pairs from any folder of good faces (FFHQ, CelebA-HQ): centred squares, degraded; and the names of GPEN's tasks."""
from data.pairs import DEGRADATIONS
from data.square_folder import SquareFolder


class FFHQDataset(SquareFolder):
    """Samples {'lr', 'hr'}: uint8 HWC RGB, load_size square. By default SPARNetHD's task: lr is hr through its chain.

    Chains count in pixels of a face of 512 pixels or more: a network of 128 pixels sees the same faces, only smaller.
    """

    default_degradation = DEGRADATIONS["sparnethd"]


class BlindDataset(FFHQDataset):
    """Blind restoration as GPEN was trained for it."""
    default_degradation = DEGRADATIONS["gpen"]
    names_degradation = True


class BlindHardDataset(FFHQDataset):
    """Blind restoration of worse faces."""
    default_degradation = DEGRADATIONS["gpen_hard"]
    names_degradation = True


class ColorizationDataset(FFHQDataset):
    """GPEN's colourization."""
    default_degradation = DEGRADATIONS["grey"]
    names_degradation = True


class InpaintingDataset(FFHQDataset):
    """GPEN's inpainting."""
    default_degradation = DEGRADATIONS["holes"]
    names_degradation = True
