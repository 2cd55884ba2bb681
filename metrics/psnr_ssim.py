# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""PSNR and SSIM of x8 faces under the protocols in use, whose numbers do not compare with each other.

    score(sr, hr, "sparnet")   sr: float tensor in [-1, 1], hr: the uint8 picture it should have been

A picture here is a uint8 numpy array, height x width x 3, RGB. A number is published with its protocol
(metrics/protocols.py).

The low-resolution input is PIL BICUBIC, uint8, both ways (utils/images.py: degrade).

PSNR of two pictures that are identical under a protocol is infinite. Such a face is left out of the mean PSNR, which
stays finite; its SSIM of 1 counts. newtest.py names these faces.
"""
from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch

from metrics.protocols import Protocol, protocol_named
from utils.images import quantize

LUMA = np.array([65.481, 128.553, 24.966])  # BT.601, studio range: Y = 16 + RGB.LUMA / 255


class Score(NamedTuple):
    """How near a picture is to its reference: PSNR in dB (inf for identical ones), SSIM in [-1, 1]."""
    psnr: float
    ssim: float


def to_uint8(image: torch.Tensor, protocol: str | Protocol) -> np.ndarray:
    """`quantize` with the rounding of `protocol` (a name or a Protocol)."""
    return quantize(image, protocol_named(protocol).rounding)


def luma(image: np.ndarray, rounding: str | None) -> np.ndarray:
    """Y of a uint8 RGB picture in [16, 235], height x width: uint8, or float64 if `rounding` is None."""
    y = 16 + image.astype(np.float64) @ LUMA / 255
    if rounding is None:
        return y
    return (np.rint(y) if rounding == "round" else y).astype(np.uint8)


def psnr(sr: np.ndarray, hr: np.ndarray, protocol: str | Protocol) -> float:
    """Peak signal-to-noise ratio in dB of two uint8 RGB pictures; inf for identical ones.

    ValueError for other inputs, unequal shapes, or an unknown protocol.
    """
    return _psnr(*_compared(sr, hr, protocol))


def ssim(sr: np.ndarray, hr: np.ndarray, protocol: str | Protocol) -> float:
    """Structural similarity of two uint8 RGB pictures, in [-1, 1] (Wang et al. 2004).

    ValueError as in `psnr`, and for pictures smaller than the window.
    """
    return _ssim(*_compared(sr, hr, protocol), protocol_named(protocol))


def compare(sr: np.ndarray, hr: np.ndarray, protocol: str | Protocol) -> Score:
    """Returns Score(psnr(...), ssim(...)) of two uint8 RGB pictures."""
    pair = _compared(sr, hr, protocol)
    return Score(_psnr(*pair), _ssim(*pair, protocol_named(protocol)))


def _psnr(sr: np.ndarray, hr: np.ndarray) -> float:
    mse = np.mean((sr.astype(np.float64) - hr) ** 2)
    return math.inf if mse == 0 else float(10 * np.log10(255 ** 2 / mse))


def _ssim(sr: np.ndarray, hr: np.ndarray, protocol: Protocol) -> float:
    if min(sr.shape[:2]) < protocol.window:
        raise ValueError(f"SSIM of protocol {protocol.name} needs {protocol.window}x{protocol.window} pixels "
                         f"after cropping {protocol.crop} from each side, got {sr.shape[0]}x{sr.shape[1]}.")
    channels = zip(cv2.split(sr.astype(np.float64)), cv2.split(hr.astype(np.float64)), strict=True)
    return float(np.mean([np.mean(_similarity(*pair, protocol)) for pair in channels]))


def _similarity(sr: np.ndarray, hr: np.ndarray, protocol: Protocol) -> np.ndarray:
    """SSIM of one channel at every place where the whole window lies on the picture (Wang et al. 2004, equation 13).

    It equals scikit-image's structural_similarity; OpenCV's filter and contiguous arrays make it several times faster.
    A uniform window takes the sample covariance, a Gaussian one the population's.
    """
    side = protocol.window
    weights = cv2.getGaussianKernel(side, 1.5, cv2.CV_64F) if protocol.gaussian else np.full((side, 1), 1 / side)
    sample = 1 if protocol.gaussian else side ** 2 / (side ** 2 - 1)
    edge = side // 2

    def mean(x):
        return np.ascontiguousarray(cv2.sepFilter2D(x, cv2.CV_64F, weights, weights)[edge:-edge, edge:-edge])
    of_sr, of_hr = mean(sr), mean(hr)
    squares, product = of_sr * of_sr + of_hr * of_hr, of_sr * of_hr
    variances = sample * (mean(sr * sr + hr * hr) - squares)
    covariance = sample * (mean(sr * hr) - product)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return (2 * product + c1) * (2 * covariance + c2) / ((squares + c1) * (variances + c2))


def score(sr: torch.Tensor, hr: np.ndarray, protocol: str | Protocol) -> Score:
    """Returns the Score of a network's output `sr`, float CHW or 1CHW in [-1, 1], against uint8 `hr`."""
    if sr.ndim == 4 and len(sr) == 1:
        sr = sr[0]
    if sr.ndim != 3:
        raise ValueError(f"score takes one image, CHW, at a time; got shape {tuple(sr.shape)}.")
    return compare(to_uint8(sr, protocol), hr, protocol)


def mean_score(scores: Sequence[Score]) -> Score:
    """Returns the means over images. PSNR is averaged in dB, per image, as every protocol does.

    Images whose PSNR is infinite count for SSIM alone; the mean PSNR is infinite if there are no others. Raises
    ValueError if there is no image.
    """
    _, mean_ssim = mean(scores)
    finite = [s for s in scores if math.isfinite(s[0])]
    return Score(mean(finite)[0] if finite else math.inf, mean_ssim)


def mean_psnr(values: Iterable[float]) -> float:
    """Returns the mean in dB of the finite values; inf if there are no others."""
    finite = [value for value in values if math.isfinite(value)]
    return mean(finite) if finite else math.inf


def decibels(psnr: float) -> str:
    """Returns a mean PSNR with four decimals; NA where every image is identical to its reference (mean_score)."""
    return f"{psnr:.4f}" if math.isfinite(psnr) else "NA"


def mean(scores: Iterable[float] | Iterable[tuple[float, ...]]) -> float | tuple[float, ...]:
    """Returns the mean over images of numbers (a float) or of tuples of them (a tuple of floats)."""
    scores = list(scores)
    if not scores:
        raise ValueError("the mean of no scores is not defined: no image was scored.")
    values = np.asarray(scores, dtype=np.float64).mean(axis=0)
    return float(values) if values.ndim == 0 else tuple(float(v) for v in values)


def _compared(sr: np.ndarray, hr: np.ndarray, protocol: str | Protocol) -> tuple[np.ndarray, np.ndarray]:
    """The parts of the two pictures that `protocol` compares, checked: uint8, HxW or HxWx3."""
    protocol = protocol_named(protocol)
    for name, image in (("sr", sr), ("hr", hr)):
        right = isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3
        if not right or image.shape[2] != 3:
            what = f"{image.dtype} {tuple(image.shape)}" if hasattr(image, "dtype") else type(image).__name__
            raise ValueError(f"{name} must be a uint8 array, height x width x 3, RGB; got {what}.")
    if sr.shape != hr.shape:
        raise ValueError(f"sr and hr differ in size: {_size(sr)} and {_size(hr)}.")
    edge = protocol.crop
    if min(sr.shape[:2]) <= 2 * edge:
        raise ValueError(f"protocol {protocol.name} crops {edge} pixels from each side: "
                         f"nothing is left of {_size(sr)}.")
    if edge:
        sr, hr = sr[edge:-edge, edge:-edge], hr[edge:-edge, edge:-edge]
    if protocol.luma:
        rounding = None if protocol.exact_luma else protocol.rounding
        sr, hr = luma(sr, rounding), luma(hr, rounding)
    return sr, hr


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
