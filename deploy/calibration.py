# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The ranges of a network's activations, from calibration faces: what int8 quantization needs.

    histograms = collect(model, faces, tensors)
    ranges = choose_ranges(histograms, "percentile")

Two passes over the faces: the first finds each tensor's smallest and largest value, the second counts its values in
equal bins between them. The memory is that of the bins and of one face's activations, however many faces there are.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import onnx

from deploy.session import open_session
from utils.errors import UserError, nearest

BINS = 2048
LEVELS = 256  # of int8 and uint8
PERCENTILE = 99.99  # of the values lie in the range that `percentile` chooses
CANDIDATES = 128  # clipping thresholds that mse and kl try


class Histogram(NamedTuple):
    """Counts of a tensor's values in equal bins from `low` to `high`; int64 [BINS]."""
    counts: np.ndarray
    low: float
    high: float

    @property
    def edges(self) -> np.ndarray:
        return np.linspace(self.low, self.high, len(self.counts) + 1)

    @property
    def centres(self) -> np.ndarray:
        return (self.edges[1:] + self.edges[:-1]) / 2


def collect(model: onnx.ModelProto, faces: Sequence[np.ndarray], tensors: Iterable[str]) -> dict[str, Histogram]:
    """Returns {tensor: Histogram} of the named activations of `model` over all faces, float32 [1, 3, S, S] each.

    Raises UserError if the network's values are not finite, or if an input does not fit it.
    """
    tensors = list(dict.fromkeys(tensors))
    name = model.graph.input[0].name
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    del watched.graph.output[:]
    watched.graph.output.extend(onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, None)
                                for tensor in tensors if tensor != name)
    session = open_session(watched)
    outputs = [output.name for output in session.get_outputs()]

    def activations() -> Iterable[tuple[str, np.ndarray]]:
        for face in faces:
            if name in tensors:
                yield name, face
            yield from zip(outputs, _run(session, face), strict=True)

    lows, highs = dict.fromkeys(tensors, np.inf), dict.fromkeys(tensors, -np.inf)
    for tensor, values in activations():
        lows[tensor] = min(lows[tensor], float(values.min()))
        highs[tensor] = max(highs[tensor], float(values.max()))
    for tensor in tensors:
        if not np.isfinite([lows[tensor], highs[tensor]]).all():
            raise UserError(f"calibration: the values of {tensor} are not finite: the weights are invalid.", status=1)
    counts = {tensor: np.zeros(BINS, np.int64) for tensor in tensors}
    for tensor, values in activations():
        counts[tensor] += count(values, lows[tensor], highs[tensor])
    return {tensor: Histogram(counts[tensor], lows[tensor], highs[tensor]) for tensor in tensors}


def _run(session, face):
    try:
        return session.run(None, {session.get_inputs()[0].name: face})
    except Exception as error:
        wanted = session.get_inputs()[0].shape
        raise UserError(f"calibration: an input of the shape {list(face.shape)} does not fit the network, which takes "
                        f"{wanted}: {str(error).splitlines()[0][:200]}") from None


def count(values: np.ndarray, low: float, high: float, bins: int = BINS) -> np.ndarray:
    """Returns how many values lie in each of the equal bins from `low` to `high`; the last one includes `high`."""
    width = (high - low) / bins
    if not width:
        return np.bincount([0], [values.size], bins).astype(np.int64)
    places = ((values.ravel() - np.float32(low)) * np.float32(1 / width)).astype(np.int32)
    return np.bincount(np.clip(places, 0, bins - 1), minlength=bins)


def minmax(histogram: Histogram) -> tuple[float, float]:
    """Returns the range of all values."""
    return histogram.low, histogram.high


def percentile(histogram: Histogram, percent: float = PERCENTILE) -> tuple[float, float]:
    """Returns the range that `percent` % of the values lie in; equal parts of the others are below and above it."""
    share = np.concatenate([[0], np.cumsum(histogram.counts) / histogram.counts.sum()])
    outside = (1 - percent / 100) / 2
    edges = histogram.edges
    # The first bin's lower edge and the last one's upper edge belong to the values at the ends of the range.
    return float(np.interp(outside, share, edges)), float(np.interp(1 - outside, share, edges))


def mse(histogram: Histogram) -> tuple[float, float]:
    """Returns the range, clipped at a threshold T to [-T, T], with the smallest squared error of quantization."""
    def error(low, high):
        step = (high - low) / (LEVELS - 1)
        centres = histogram.centres
        # Zero must be one of the levels.
        restored = (np.clip(np.rint(centres / step), np.rint(low / step), np.rint(high / step))) * step
        return float(histogram.counts @ (restored - centres) ** 2)
    return _best_clipping(histogram, error)


def kl(histogram: Histogram) -> tuple[float, float]:
    """Returns the range, clipped at a threshold T to [-T, T], whose quantized distribution has the least divergence.

    Kullback-Leibler divergence of the clipped distribution, whose outliers count at the ends, from the same one with
    LEVELS values (Migacz, "8-bit Inference with TensorRT", GTC 2017).
    """
    edges, counts = histogram.edges, histogram.counts.astype(np.float64)

    def divergence(low, high):
        first = max(np.searchsorted(edges, low, side="right") - 1, 0)
        last = np.searchsorted(edges, high, side="left")
        if last - first < LEVELS:  # so few bins are always told apart, even if most values lie outside
            return np.inf
        inside = counts[first:last]
        clipped = inside.copy()
        clipped[0] += counts[:first].sum()
        clipped[-1] += counts[last:].sum()
        level = np.arange(len(inside)) * LEVELS // len(inside)
        filled = inside > 0
        total, number = np.bincount(level, inside), np.bincount(level, filled)
        merged = np.where(filled, (total / np.maximum(number, 1))[level], 0)
        return _divergence(clipped, merged)
    return _best_clipping(histogram, divergence)


def _divergence(p: np.ndarray, q: np.ndarray) -> float:
    """Returns the sum of p log(p / q), both divided by their sums. A bin that q lacks counts as one with a small q."""
    if not q.sum():
        return np.inf
    p, q = p / p.sum(), q / q.sum()
    there = p > 0
    return float(np.sum(p[there] * np.log(p[there] / np.maximum(q[there], 1e-12))))


def _best_clipping(histogram: Histogram, loss: Callable[[float, float], float]) -> tuple[float, float]:
    """Returns the range with the smallest loss of those clipped at CANDIDATES thresholds; the widest of equal ones."""
    low, high = min(histogram.low, 0.0), max(histogram.high, 0.0)
    largest = max(-low, high)
    if not largest:
        return low, high
    ranges = [(max(low, -t), min(high, t)) for t in largest * np.linspace(1, 1 / CANDIDATES, CANDIDATES)]
    losses = [loss(*candidate) for candidate in ranges]
    return ranges[int(np.argmin(losses))]


METHODS: dict[str, Callable[[Histogram], tuple[float, float]]] = {
    "minmax": minmax, "percentile": percentile, "mse": mse, "kl": kl}


def choose_ranges(histograms: Mapping[str, Histogram], method: str) -> dict[str, tuple[float, float]]:
    """Returns {tensor: (low, high)} by one of METHODS; each range holds 0. UserError for an unknown method."""
    if method not in METHODS:
        raise UserError(f"--calibration {method}: it is one of {', '.join(METHODS)}." + nearest(method, METHODS))
    chosen = {tensor: METHODS[method](histogram) for tensor, histogram in histograms.items()}
    return {tensor: (min(low, 0.0), max(high, 0.0)) for tensor, (low, high) in chosen.items()}
