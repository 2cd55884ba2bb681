# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Histograms of activations and the ranges chosen from them, against values that can be computed by hand."""
import math

import numpy as np
import onnx
import pytest

from deploy import calibration
from deploy.calibration import Histogram, choose_ranges, collect
from deploy.session import open_session
from tests.helpers.onnx_models import small_network
from utils.errors import UserError

BINS = calibration.BINS


def test_counts_are_those_of_all_activations():
    rng = np.random.default_rng(0)
    faces = [rng.uniform(-1, 1, (1, 3, 16, 16)).astype(np.float32) for _ in range(3)]
    found = collect(small_network(), faces, ["input", "low", "output"])
    watched = small_network()
    watched.graph.output.append(onnx.helper.make_tensor_value_info("low", 1, None))
    low = np.concatenate([open_session(watched).run(["low"], {"input": face})[0] for face in faces])
    assert (found["low"].low, found["low"].high) == (low.min(), low.max())
    assert found["low"].counts.sum() == low.size and found["input"].counts.sum() == 3 * 3 * 16 * 16
    expected, _ = np.histogram(low, BINS, (low.min(), low.max()))
    assert np.abs(np.cumsum(found["low"].counts - expected)).max() <= 2  # values at an edge, in float32


def test_counts_of_known_values():
    assert calibration.count(np.array([0, 0.5, 1, 3.9, 4], np.float32), 0, 4, 4).tolist() == [2, 1, 0, 2]
    assert calibration.count(np.zeros(5, np.float32), 0, 0, 4).tolist() == [5, 0, 0, 0]


def test_minmax_is_the_range_of_all_values():
    assert calibration.minmax(Histogram(np.array([1, 0, 0, 1]), -2.0, 6.0)) == (-2, 6)


def test_percentile_leaves_equal_parts_outside():
    uniform = Histogram(np.full(100, 7), 0.0, 100.0)
    assert calibration.percentile(uniform, 90) == pytest.approx((5, 95))
    outlier = Histogram(np.array([98, 0, 0, 2]), 0.0, 4.0)
    assert calibration.percentile(outlier, 98) == pytest.approx((1 / 98, 3.5))


def test_mse_balances_rounding_and_clipping():
    """n values in [0, 20], one at 100: n (T / 255)^2 / 12 + (100 - T)^2 is smallest at T = 100 / (1 + n / 780300)."""
    for ratio, threshold in ((1, 50), (1 / 3, 75)):
        counts = np.zeros(BINS)
        inside = int(BINS * 0.2)
        counts[:inside] = 780300 * ratio / inside
        counts[-1] = 1
        low, high = calibration.mse(Histogram(counts, 0.0, 100.0))
        assert low == 0 and high == pytest.approx(threshold, abs=1.5)


def test_kl_keeps_what_256_levels_can_tell_apart():
    assert calibration.kl(Histogram(np.full(BINS, 3), -1.0, 1.0)) == (-1, 1)  # divergence 0 at full range
    counts = np.zeros(BINS, int)
    counts[:256] = [1, 3] * 128  # levels of 8 bins would make them equal
    counts[-1] = 1
    assert calibration.kl(Histogram(counts * 1000, 0.0, 100.0)) == (0, 12.5)
    divergence = calibration._divergence(np.array([1.0, 3]), np.array([2.0, 2]))
    assert divergence == pytest.approx(0.25 * math.log(0.5) + 0.75 * math.log(1.5))


@pytest.mark.parametrize("method", calibration.METHODS)
def test_every_range_holds_zero(method):
    histograms = {"a": Histogram(np.full(BINS, 1), 2.0, 3.0), "b": Histogram(np.full(BINS, 1), -3.0, -2.0),
                  "c": Histogram(np.full(BINS, 1), 0.0, 0.0)}
    found = choose_ranges(histograms, method)
    assert all(low <= 0 <= high for low, high in found.values()) and found["c"] == (0, 0)


def test_bad_input_is_one_line():
    with pytest.raises(UserError, match="--calibration entropy: it is one of minmax, percentile, mse, kl"):
        choose_ranges({}, "entropy")
    with pytest.raises(UserError, match=r"the shape \[1, 4, 8, 8\] does not fit the network"):
        collect(small_network(), [np.zeros((1, 4, 8, 8), np.float32)], ["low"])
    with pytest.raises(UserError, match="not finite"):
        collect(small_network(), [np.full((1, 3, 8, 8), np.nan, np.float32)], ["low"])
