# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Degraded and clean faces of 128 pixels from any folder of clean faces, for blind restoration from 12 pixels up."""
from data.celeba_dataset import CelebADataset
from data.pairs import DEGRADATION_BY_NAME


class Face128Dataset(CelebADataset):
    """CelebADataset with a chain of degradations. The chain is always random; --augmentation only affects the crop."""

    default_degradation = DEGRADATION_BY_NAME["face128"]
    names_degradation = True
