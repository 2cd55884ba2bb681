# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Identity similarity: is the restored face still the same person? By an embedding network given by path.

Each face is found in the reference picture (restore/face_finder.py), laid by its five points onto the template that
embeddings are trained with (SphereFace and ArcFace), and compared by the cosine of its vectors: 1 for the same picture,
about 0 for other people. The picture judged is cut like its reference, as both show the same face at the same place.
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from models.face_embedding import load_face_embedding
from restore.alignment import align
from restore.face_finder import FaceFinder, find_points
from utils.images import to_tensor_range


class IdentitySimilarity:
    """The cosine of pictures' vectors to those of their references. UserError, naming --identity_path, for bad weights.

    path: weights of a network of models/face_embedding.py. It works in float32 on `device`.
    """

    def __init__(self, path: str, device: torch.device) -> None:
        self.net = load_face_embedding(path).to(device)
        self.device = device
        self.finder = FaceFinder()

    @torch.no_grad()
    def __call__(self, references: Sequence[np.ndarray], *others: Sequence[np.ndarray]) -> list[list[float | None]]:
        """One list for each of `others`: cosines in [-1, 1], None where no face is found in the reference.

        All are lists of uint8 HWC RGB pictures; the i-th of each shows the same face at the same place.
        """
        points = [find_points(picture, self.finder) for picture in references]
        kept = [i for i, found in enumerate(points) if found is not None]
        if not kept:
            return [[None] * len(references) for _ in others]
        crops = np.stack([align(pictures[i], points[i], self.net.size) for pictures in (references, *others)
                          for i in kept])
        vectors = self.net(to_tensor_range(torch.from_numpy(crops).to(self.device))).cpu()
        reference, *rest = vectors.split(len(kept))
        found = []
        for part in rest:
            cosines = dict(zip(kept, (part * reference).sum(1).tolist(), strict=True))
            found.append([cosines.get(i) for i in range(len(references))])
        return found
