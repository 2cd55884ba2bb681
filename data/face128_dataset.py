"""Degraded and clean faces of 128 pixels from any folder of clean faces, for blind restoration from 12 pixels on."""
from data.celeba_dataset import CelebADataset
from data.pairs import DEGRADATIONS


class Face128Dataset(CelebADataset):
    """CelebADataset with a chain of degradations; that is always random, augmentation is of the crop."""

    default_degradation = DEGRADATIONS["face128"]
    names_degradation = True
