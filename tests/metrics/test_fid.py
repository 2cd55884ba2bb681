# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""FID: the distance against its formula."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from metrics.fid import fid
from utils.errors import UserError


def features_with(count, mean, deviation, seed):
    """Returns [count, D] features with exactly this mean and exactly the covariance diag(deviation^2)."""
    x = np.random.default_rng(seed).normal(size=(count, len(mean)))
    x -= x.mean(0)
    x = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T
    return x * deviation + mean


def test_distance_of_gaussians_in_closed_form():
    zero, one = np.zeros(4), np.ones(4)
    real = features_with(50, zero, one, 0)
    shift = np.array([1.0, -2.0, 0.5, 0.0])
    assert fid(real, real) == pytest.approx(0, abs=1e-9)
    assert fid(real, real + shift) == pytest.approx(5.25)
    spread = np.array([2.0, 1.0, 0.5, 4.0])  # squared differences of the deviations: 1 + 0 + 0.25 + 9
    assert fid(real, features_with(30, shift, spread, 1)) == pytest.approx(5.25 + 10.25)


def test_distance_is_the_formula_of_the_paper():
    rng = np.random.default_rng(2)
    real, fake = (rng.gamma(2, size=(count, 6)) @ rng.normal(size=(6, 6)) for count in (40, 25))
    a, b = np.cov(real.T), np.cov(fake.T)
    expected = ((real.mean(0) - fake.mean(0)) ** 2).sum() + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert fid(real, fake) == pytest.approx(expected, rel=1e-8)
    assert fid(torch.from_numpy(fake), torch.from_numpy(real)) == pytest.approx(expected, rel=1e-8)
    assert fid(real.astype(np.float32), fake.astype(np.float32)) == pytest.approx(expected, rel=1e-5)
    assert fid(real + 1e3, fake + 1e3) == pytest.approx(expected, rel=1e-9)  # float32 would lose digits here


def test_distance_needs_two_faces():
    faces = np.zeros((3, 4))
    with pytest.raises(UserError, match="each of 2 at the least.*3 real and 1 restored"):
        fid(faces, faces[:1])
    with pytest.raises(UserError, match="0 real and 3 restored"):
        fid(faces[:0], faces)
