"""The Fréchet Inception distance between two sets of faces (Heusel et al., NeurIPS 2017)."""
from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance

from utils.errors import UserError


def fid(real_features: np.ndarray | torch.Tensor, fake_features: np.ndarray | torch.Tensor) -> float:
    """|m - m'|^2 + tr(C + C' - 2 (C C')^(1/2)) of the sets' means m and covariances C (by N - 1), a float.

    Both: features [N, D], arrays or tensors on any device; metrics/inception.py makes FID's. In float64 on the CPU.
    Fewer faces make it larger, so that numbers compare only where as many were used. UserError for fewer than two.
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
