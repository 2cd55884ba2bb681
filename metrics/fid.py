# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The Fréchet Inception distance between two sets of faces (Heusel et al., NeurIPS 2017)."""
import torch
from numpy.typing import ArrayLike
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance

from utils.errors import UserError


def fid(real_features: ArrayLike, fake_features: ArrayLike) -> float:
    """Returns |m - m'|^2 + tr(C + C' - 2 (C C')^(1/2)) of the sets' means m and covariances C (divided by N - 1).

    real_features, fake_features: [N, D] and [M, D], arrays or tensors on any device, as metrics/inception.py makes
    them; computed in float64 on the CPU. The distance grows as N and M shrink: compare only distances of equally many
    faces. Raises UserError if a set has fewer than two.
    """
    sets = [torch.as_tensor(features, dtype=torch.float64, device="cpu") for features in (real_features, fake_features)]
    if min(map(len, sets)) < 2:
        raise UserError(f"FID compares sets of faces, each of 2 at the least (thousands for a number to publish): "
                        f"there are {len(sets[0])} real and {len(sets[1])} restored ones.")
    as_they_are = nn.Identity()
    as_they_are.num_features = sets[0].shape[1]
    distance = FrechetInceptionDistance(feature=as_they_are)
    for features, real in zip(sets, (True, False), strict=True):
        distance.update(features, real=real)
    return distance.compute().item()
