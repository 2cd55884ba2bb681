# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Degraded and clean faces from any folder of clean faces (FFHQ, CelebA-HQ): SPARNetHD's task, and GPEN's by name."""
from data.pairs import DEGRADATION_BY_NAME
from data.square_folder import SquareFolder


class FFHQDataset(SquareFolder):
    """Samples {'lr', 'hr'}: uint8 HWC RGB, load_size square. By default lr is hr degraded by SPARNetHD's chain.

    augmentation: 'none' disables the flip only. The degradation depends on (seed, epoch, index).
    """

    default_degradation = DEGRADATION_BY_NAME["sparnethd"]


class BlindDataset(FFHQDataset):
    """Blind restoration with GPEN's published chain."""
    default_degradation = DEGRADATION_BY_NAME["gpen"]
    names_degradation = True


class BlindHardDataset(FFHQDataset):
    """Blind restoration with a harder chain of two passes."""
    default_degradation = DEGRADATION_BY_NAME["gpen_hard"]
    names_degradation = True


class ColorizationDataset(FFHQDataset):
    """GPEN's colourization: lr is hr as grey, in three channels."""
    default_degradation = DEGRADATION_BY_NAME["grey"]
    names_degradation = True


class InpaintingDataset(FFHQDataset):
    """GPEN's inpainting: lr is hr with white holes."""
    default_degradation = DEGRADATION_BY_NAME["holes"]
    names_degradation = True
