"""PSNR and SSIM of x8 faces under the three protocols in use, whose numbers do not compare with each other.

    score(sr, hr, "sparnet")   sr: float tensor in [-1, 1], hr: the uint8 picture it should have been

A picture here is a uint8 numpy array, height x width x 3, RGB. A number is published with its protocol.

    sparnet    SPARNet, CTCNet, WFEN        truncated, Y, Gaussian 11x11 SSIM
    benchmark  SFMNet, the Jiang survey     rounded, Y, 8 pixels cropped from each side, uniform 7x7 SSIM
    rgb        FSRNet-pytorch               truncated, RGB, uniform 7x7 SSIM per channel

The low-resolution input is PIL BICUBIC, uint8, both ways (utils/images.py: degrade).
"""
import math
from dataclasses import dataclass

import numpy as np
from skimage.metrics import structural_similarity

from utils.errors import UserError, nearest

LUMA = np.array([65.481, 128.553, 24.966])  # BT.601, studio range: Y = 16 + RGB.LUMA / 255


@dataclass(frozen=True)
class Protocol:
    """How two pictures are compared: `rounding` of floats to uint8, Y or RGB, `crop` pixels each side."""

    name: str
    rounding: str  # "truncate" or "round"
    luma: bool
    crop: int
    gaussian: bool  # SSIM window: Gaussian 11x11 (sigma 1.5, population covariance), or uniform 7x7

    @property
    def window(self):
        """Side of the SSIM window in pixels."""
        return 11 if self.gaussian else 7


PROTOCOLS = {
    "sparnet": Protocol("sparnet", "truncate", luma=True, crop=0, gaussian=True),
    "benchmark": Protocol("benchmark", "round", luma=True, crop=8, gaussian=False),
    "rgb": Protocol("rgb", "truncate", luma=False, crop=0, gaussian=False),
}


def protocol_named(name):
    """The Protocol of that name (a Protocol passes through); ValueError, with the nearest name, if none."""
    if isinstance(name, Protocol):
        return name
    if name not in PROTOCOLS:
        raise ValueError(f"unknown metric protocol {name!r}; it is one of {', '.join(PROTOCOLS)}."
                         + nearest(str(name), PROTOCOLS))
    return PROTOCOLS[name]


def quantize(image, rounding):
    """Float tensor CHW or NCHW in [-1, 1] -> uint8 array HWC or NHWC in [0, 255].

    Values outside the range are clipped first. `rounding` is "truncate" (down) or "round" (ties to even).
    A uint8 picture that went to [-1, 1] and back comes out unchanged under both. UserError for nan, which a network
    gives whose weights are spoilt or whose half precision overflowed.
    """
    if rounding not in ("truncate", "round"):
        raise ValueError(f"rounding must be truncate or round, not {rounding!r}.")
    if image.ndim not in (3, 4):
        raise ValueError(f"expected a CHW or NCHW tensor, got shape {tuple(image.shape)}.")
    values = image.detach().cpu().double()
    if values.isnan().any():
        raise UserError("the network's picture holds nan: its weights are spoilt (of a training that diverged: a lower "
                        "--lr, --max_grad_norm), or half precision overflowed (--amp_dtype bfloat16, --opt_level O0).",
                        status=1)
    values = (values.clamp(-1, 1) + 1) / 2 * 255
    # float32 holds 200 as 199.99999: a truncation blind to that would darken pictures that are exact already
    values = values.round() if rounding == "round" else (values + 1e-4).trunc()
    return np.ascontiguousarray(values.byte().movedim(-3, -1).numpy())


def to_uint8(image, protocol):
    """`quantize` with the rounding of `protocol` (a name or a Protocol)."""
    return quantize(image, protocol_named(protocol).rounding)


def luma(image, rounding):
    """Y of a uint8 RGB picture, uint8 in [16, 235], height x width."""
    y = 16 + image.astype(np.float64) @ LUMA / 255
    return (np.rint(y) if rounding == "round" else y).astype(np.uint8)


def psnr(sr, hr, protocol):
    """Peak signal-to-noise ratio in dB of two uint8 RGB pictures; inf for identical ones.

    ValueError for other inputs, unequal shapes, or an unknown protocol.
    """
    sr, hr = _compared(sr, hr, protocol)
    mse = np.mean((sr.astype(np.float64) - hr) ** 2)
    return math.inf if mse == 0 else float(10 * np.log10(255 ** 2 / mse))


def ssim(sr, hr, protocol):
    """Structural similarity of two uint8 RGB pictures, in [-1, 1] (Wang et al. 2004).

    ValueError as in `psnr`, and for pictures smaller than the window.
    """
    protocol = protocol_named(protocol)
    sr, hr = _compared(sr, hr, protocol)
    if min(sr.shape[:2]) < protocol.window:
        raise ValueError(f"SSIM of protocol {protocol.name} needs {protocol.window}x{protocol.window} pixels "
                         f"after cropping {protocol.crop} from each side, got {sr.shape[0]}x{sr.shape[1]}.")
    options = {"win_size": protocol.window}
    if protocol.gaussian:  # the window's size follows from sigma and skimage's truncate=3.5
        options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    channel_axis = None if protocol.luma else 2
    return float(structural_similarity(sr, hr, data_range=255, channel_axis=channel_axis, **options))


def score(sr, hr, protocol):
    """(PSNR in dB, SSIM) of a network's output `sr`, float CHW or 1CHW in [-1, 1], against uint8 `hr`."""
    if sr.ndim == 4 and len(sr) == 1:
        sr = sr[0]
    if sr.ndim != 3:
        raise ValueError(f"score takes one image, CHW, at a time; got shape {tuple(sr.shape)}.")
    sr = to_uint8(sr, protocol)
    return psnr(sr, hr, protocol), ssim(sr, hr, protocol)


def mean(scores):
    """Mean over images of a list of numbers or of tuples of them: float, or tuple of floats.

    PSNR is averaged in dB, per image, as every protocol does; one identical image makes the mean inf.
    """
    scores = list(scores)
    if not scores:
        raise ValueError("the mean of no scores is not defined: no image was scored.")
    values = np.asarray(scores, dtype=np.float64).mean(axis=0)
    return float(values) if values.ndim == 0 else tuple(float(v) for v in values)


def _compared(sr, hr, protocol):
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
        sr, hr = luma(sr, protocol.rounding), luma(hr, protocol.rounding)
    return sr, hr


def _size(image):
    return f"{image.shape[1]}x{image.shape[0]}"
