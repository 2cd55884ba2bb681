# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Identity similarity: it is the cosine of aligned faces' embeddings, and it distinguishes people."""

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from data.drawn.builtin_faces import draw_face
from metrics.identity import IdentitySimilarity
from restore.alignment import align
from restore.face_finder import find_points
from tests.helpers.paths import SHARED


def test_similarity_is_the_cosine_of_the_aligned_faces(embedding):
    similarity = IdentitySimilarity(embedding, torch.device("cpu"))
    references = [draw_face(seed, 128).image for seed in (0, 3)] + [np.full((128, 128, 3), 90, np.uint8)]
    worse = [cv2.GaussianBlur(picture, (0, 0), 3) for picture in references]
    same, blurred = similarity(references, references, worse)
    assert same[:2] == pytest.approx([1, 1], abs=1e-6) and same[2] is blurred[2] is None
    for i in range(2):
        points = find_points(references[i])
        a, b = (similarity.net.vectors(torch.from_numpy(align(picture[i], points, (112, 96)) / 127.5 - 1).float()
                                       .permute(2, 0, 1)[None]) for picture in (references, worse))
        assert blurred[i] == pytest.approx(F.cosine_similarity(a, b).item(), abs=1e-5)
        assert blurred[i] < 0.9999


@pytest.mark.skipif(not (SHARED / "weights" / "mobilefacenet_casia_112x96.pth").exists(),
                    reason="no folder of real faces beside the project")
def test_a_trained_embedding_tells_people_apart():
    """Measured means over 40 people of CelebA's test part: 0.51 for the same person, 0.002 for others."""
    from PIL import Image
    similarity = IdentitySimilarity(str(SHARED / "weights" / "mobilefacenet_casia_112x96.pth"), torch.device("cpu"))
    paths = sorted((SHARED / "celebahq512_pairs" / "test" / "gt").glob("*.jpg"))[:6]
    faces = [np.asarray(Image.open(path).convert("RGB").resize((256, 256))) for path in paths]
    worse = [cv2.GaussianBlur(face, (0, 0), 3) for face in faces]
    mirrored = [face[:, ::-1] for face in faces]
    blurred, other = similarity(faces, worse, faces[1:] + faces[:1])
    assert np.mean(blurred) > 0.6 and np.mean(other) < 0.3
    assert all(s is not None for s in similarity(mirrored, worse)[0])
