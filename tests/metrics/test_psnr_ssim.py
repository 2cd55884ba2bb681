# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""metrics/psnr_ssim.py against values of the published protocols and against formulas written out here."""
import math
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import convolve1d, uniform_filter
from skimage.data import astronaut

from metrics import psnr_ssim
from metrics.protocols import PROTOCOLS
from tests.helpers.paths import SHARED
from utils.errors import UserError

BICUBIC = Image.Resampling.BICUBIC

# Bicubic x8 baseline: mean PSNR / SSIM over a folder's images, each resized without cropping to 128x128
# (Pillow 13.0, scikit-image 0.26, numpy 2.4). Source: the reference table of the three protocols.
GOLDEN = {
    ("ffhq10", 10): {"sparnet": (23.2710, 0.6256), "benchmark": (23.1504, 0.6154), "rgb": (21.6599, 0.5838)},
    ("celeba178/val", 499): {"sparnet": (23.2411, 0.6364), "benchmark": (23.0704, 0.6120),
                             "rgb": (21.8396, 0.6000)},
    ("celebamask512/test/images", 70): {"sparnet": (23.0995, 0.6210), "benchmark": (23.0408, 0.6020),
                                        "rgb": (21.6686, 0.5857)},
}
# The same for the face of scikit-image's astronaut, computed with the formulas below.
ASTRONAUT = {"sparnet": (21.9674, 0.5734), "benchmark": (21.4133, 0.5147), "rgb": (20.4812, 0.5439),
             "basicsr_y": (21.9659, 0.5741), "basicsr_rgb": (20.4812, 0.5311)}


def bicubic_pair(image):
    """Returns (image reduced by 8 and enlarged again, 128x128 original) as uint8 arrays."""
    hr = image.convert("RGB").resize((128, 128), BICUBIC)
    sr = hr.resize((16, 16), BICUBIC).resize((128, 128), BICUBIC)
    return np.asarray(sr), np.asarray(hr)


@pytest.fixture(scope="module")
def pair():
    return bicubic_pair(Image.fromarray(astronaut()[0:200, 124:324]))


def as_tensor(image):
    """Converts uint8 HWC to float32 CHW in [-1, 1], the range of the networks' output."""
    return torch.tensor(image).permute(2, 0, 1).float() / 127.5 - 1


# ---- the formulas again, independent of metrics/psnr_ssim.py and of scikit-image ----
def plain_luma(image, rounded):
    r, g, b = (image[..., i].astype(float) for i in range(3))
    y = 16 + (65.481 * r + 128.553 * g + 24.966 * b) / 255
    return np.floor(y + 0.5) if rounded else np.floor(y)


def plain_ssim(a, b, blur, unbiased):
    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = (unbiased * (blur(x * x) - m * m) for x, m in ((a, mean_a), (b, mean_b)))
    covariance = unbiased * (blur(a * b) - mean_a * mean_b)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return ((2 * mean_a * mean_b + c1) * (2 * covariance + c2)
            / ((mean_a ** 2 + mean_b ** 2 + c1) * (var_a + var_b + c2)))


def gaussian(x):
    weights = np.exp(-np.arange(-5, 6) ** 2 / (2 * 1.5 ** 2))
    for axis in (0, 1):
        x = convolve1d(x, weights / weights.sum(), axis=axis)
    return x


def plain_score(sr, hr, protocol):
    if protocol == "basicsr_y":  # Y in float
        channels = [tuple(16 + (65.481 * x[..., 0].astype(float) + 128.553 * x[..., 1] + 24.966 * x[..., 2]) / 255
                          for x in (sr, hr))]
    elif protocol in ("rgb", "basicsr_rgb"):
        channels = [(sr[..., i].astype(float), hr[..., i].astype(float)) for i in range(3)]
    else:
        edge = 8 if protocol == "benchmark" else 0
        channels = [tuple(plain_luma(x[edge:128 - edge, edge:128 - edge], edge > 0) for x in (sr, hr))]
    error = np.mean([(a - b) ** 2 for a, b in channels])
    if protocol in ("sparnet", "basicsr_y", "basicsr_rgb"):
        maps = [plain_ssim(a, b, gaussian, 1)[5:-5, 5:-5] for a, b in channels]
    else:
        maps = [plain_ssim(a, b, lambda x: uniform_filter(x, 7), 49 / 48)[3:-3, 3:-3] for a, b in channels]
    return 20 * math.log10(255) - 10 * math.log10(error), np.mean(maps)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_equals_the_formulas(pair, protocol):
    measured = psnr_ssim.score(as_tensor(pair[0]), pair[1], protocol)
    assert measured == pytest.approx(plain_score(*pair, protocol), rel=1e-9)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_golden_astronaut(pair, protocol):
    measured = psnr_ssim.psnr(*pair, protocol), psnr_ssim.ssim(*pair, protocol)
    assert measured == pytest.approx(ASTRONAUT[protocol], abs=6e-5)


@pytest.mark.parametrize("folder,count", GOLDEN)
def test_golden_faces(folder, count):
    if not (SHARED / folder).is_dir():
        pytest.skip(f"no face pictures at {SHARED / folder}")
    paths = sorted(p for p in (SHARED / folder).iterdir() if p.suffix in (".png", ".jpg"))
    assert len(paths) == count
    pairs = [bicubic_pair(Image.open(p)) for p in paths]
    for protocol, expected in GOLDEN[folder, count].items():
        measured = psnr_ssim.mean((psnr_ssim.psnr(*p, protocol), psnr_ssim.ssim(*p, protocol)) for p in pairs)
        assert measured == pytest.approx(expected, abs=6e-5), protocol


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_identical_images_are_inf_without_a_warning(pair, protocol):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert psnr_ssim.score(as_tensor(pair[1]), pair[1], protocol) == (math.inf, pytest.approx(1))
        scores = [psnr_ssim.Score(30.0, 0.5), psnr_ssim.Score(math.inf, 1.0)]
        assert psnr_ssim.mean_score(scores) == (30.0, 0.75)
        assert psnr_ssim.mean_score(scores[1:]) == (math.inf, 1.0)


def test_truncated_or_rounded():
    levels = torch.tensor([99.4, 99.6, -5.0, 270.0, 0.5, 1.5])
    image = (levels / 127.5 - 1).expand(3, 1, 6)
    assert psnr_ssim.to_uint8(image, "sparnet")[0, :, 0].tolist() == [99, 99, 0, 255, 0, 1]
    assert psnr_ssim.to_uint8(image, "rgb")[0, :, 0].tolist() == [99, 99, 0, 255, 0, 1]
    rounded = psnr_ssim.to_uint8(image, "benchmark")[0, :, 0].tolist()
    assert rounded[:4] == [99, 100, 0, 255]


@pytest.mark.parametrize("rounding", ["truncate", "round"])
def test_uint8_survives_the_way_to_floats_and_back(rounding):
    image = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    in_two_steps = torch.from_numpy(image).permute(2, 0, 1).float().div(255).sub(0.5).div(0.5)
    for tensor in (as_tensor(image), in_two_steps):
        assert np.array_equal(psnr_ssim.quantize(tensor, rounding), image)
    batch = psnr_ssim.quantize(as_tensor(image)[None], rounding)
    assert batch.shape == (1, 16, 16, 3) and np.array_equal(batch[0], image)


def test_each_protocol_is_told_apart(pair):
    sr, hr = pair
    edge = sr.copy()
    edge[:8], edge[-8:], edge[:, :8], edge[:, -8:] = 0, 255, 0, 255
    assert psnr_ssim.psnr(edge, hr, "benchmark") == psnr_ssim.psnr(sr, hr, "benchmark")  # the protocol crops the edge
    assert psnr_ssim.psnr(edge, hr, "sparnet") < psnr_ssim.psnr(sr, hr, "sparnet")
    scores = {p: psnr_ssim.psnr(sr, hr, p) for p in PROTOCOLS}
    # basicsr_rgb differs from rgb in SSIM, and in PSNR where a network's output is rounded
    assert len({round(v, 4) for v in scores.values()}) == len(scores) - 1 and scores["rgb"] == scores["basicsr_rgb"]
    assert psnr_ssim.ssim(sr, hr, "rgb") != pytest.approx(psnr_ssim.ssim(sr, hr, "basicsr_rgb"), abs=1e-3)
    assert scores["sparnet"] - scores["rgb"] > 1  # Y channel against RGB
    assert psnr_ssim.luma(np.full((1, 1, 3), 255, np.uint8), "round") == 235  # studio range
    colour = np.array([[[11, 200, 42]]], np.uint8)  # Y = 123.76
    assert [int(psnr_ssim.luma(colour, r)[0, 0]) for r in ("truncate", "round")] == [123, 124]


def test_mean_is_over_images():
    assert psnr_ssim.mean([20.0, 30.0]) == 25.0
    assert psnr_ssim.mean([(20.0, 0.5), (30.0, 0.7)]) == pytest.approx((25.0, 0.6))
    with pytest.raises(ValueError, match="no image"):
        psnr_ssim.mean([])


def test_errors_say_what_is_wrong(pair):
    sr, hr = pair
    with pytest.raises(ValueError, match="Did you mean sparnet"):
        psnr_ssim.psnr(sr, hr, "sparent")
    with pytest.raises(ValueError, match="128x128 and 127x128"):
        psnr_ssim.psnr(sr, hr[:, 1:], "rgb")
    with pytest.raises(ValueError, match="nothing is left of 16x16"):
        psnr_ssim.psnr(sr[:16, :16], hr[:16, :16], "benchmark")
    with pytest.raises(ValueError, match="needs 7x7 .*got 6x6"):
        psnr_ssim.ssim(sr[:22, :22], hr[:22, :22], "benchmark")
    with pytest.raises(ValueError, match="needs 11x11"):
        psnr_ssim.ssim(sr[:10], hr[:10], "sparnet")
    with pytest.raises(ValueError, match="uint8"):
        psnr_ssim.psnr(sr.astype(float), hr, "rgb")
    with pytest.raises(ValueError, match="uint8"):
        psnr_ssim.psnr(as_tensor(sr), hr, "rgb")
    with pytest.raises(UserError, match="nan"):
        psnr_ssim.to_uint8(torch.full((3, 4, 4), math.nan), "rgb")
    with pytest.raises(ValueError, match="one image"):
        psnr_ssim.score(torch.zeros(2, 3, 128, 128), hr, "rgb")
    with pytest.raises(ValueError, match="rounding"):
        psnr_ssim.quantize(torch.zeros(3, 4, 4), "floor")


def test_means_in_decibels_are_finite_or_said_to_be_none():
    assert psnr_ssim.mean_psnr([30.0, math.inf, 20.0]) == 25.0
    assert psnr_ssim.decibels(25.0) == "25.0000"
    assert psnr_ssim.decibels(psnr_ssim.mean_psnr([math.inf])) == "NA"
