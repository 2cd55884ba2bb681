# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Image degradations: pure functions of a uint8 HWC RGB image and a numpy Generator.

`degrade_ffhq`: the chain that trained SPARNetHD, with the same ranges; kernels follow imgaug, which it was written
with. `degrade_gpen`: the chain of GPEN's published training code. `degrade_hard`: a harder chain of the same steps.
Each chain returns a record of all numbers that it drew.
"""
from typing import NamedTuple

import cv2
import numpy as np

# SPARNetHD's published chain: probabilities and ranges. Integer ranges include both ends.
FACE_SIZE = 512  # pixels; the ranges below are in pixels of a face of this size
GREY, BLUR, NOISE, COLOURED_NOISE, JPEG = 0.3, 0.5, 0.2, 0.5, 0.7
GAUSSIAN_SIGMA, AVERAGE_SIZE, MEDIAN_SIZE, MOTION_SIZE = (3.0, 15.0), (3, 15), (3, 15), (5, 25)
LOW_SIZE = (32, 127)  # side of the downscaled image in pixels
NOISE_SIGMA, QUALITY = (0.0, 25.5), (35, 90)
FILTERS = {"nearest": cv2.INTER_NEAREST, "linear": cv2.INTER_LINEAR, "area": cv2.INTER_AREA, "cubic": cv2.INTER_CUBIC}
BLURS = ("gaussian", "average", "median", "motion")


class Pass(NamedTuple):
    """Ranges of one pass of blur, downscale, noise, JPEG and upscale (one_pass)."""
    blurs: tuple  # names, with equal probability
    sigma: tuple  # pixels, per axis of the Gaussian
    motion_size: tuple  # pixels; an even size becomes the next odd one
    scale: tuple  # downscale factor
    noise: tuple  # standard deviation, in 0..255; independent per channel
    quality: tuple  # of the JPEG file


# GPEN's training code (the same chain as GFPGAN), in pixels at the network's size; published for 512 pixels.
GPEN_GREY, GPEN_KERNEL = 0.2, 41
GPEN = Pass(("isotropic", "anisotropic"), (0.1, 10.0), (), (0.8, 8.0), (0.0, 20.0), (60, 100))
# Real low-quality images often went through several cameras, screens or services, hence two passes. Motion blur is in
# GPEN's paper but not in its code; the noise range is the paper's. The paper's downscale (10 to 200 times, from 1024
# pixels) and JPEG quality (5 to 50), applied twice, would leave nothing to restore: here a pass has 32 pixels or more.
HARD = Pass(("isotropic", "anisotropic", "motion"), (0.1, 10.0), (5, 41), (1.0, 16.0), (0.0, 25.0), (20, 90))


def grey(image):
    """Returns the image as grey (ITU-R 601 luma) in three channels."""
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def gaussian_blur(image, sigma):
    """Gaussian blur, sigma in pixels. The kernel size is imgaug's: 2.6 sigma from sigma 5 on, larger below."""
    width = 3.3 if sigma < 3 else 2.9 if sigma < 5 else 2.6
    size = max(5, int(width * sigma))
    size += 1 - size % 2
    return cv2.GaussianBlur(image, (size, size), sigma, borderType=cv2.BORDER_REFLECT_101)


def average_blur(image, size):
    """Mean over size x size pixels."""
    return cv2.blur(image, (size, size), borderType=cv2.BORDER_REFLECT_101)


def median_blur(image, size):
    """Median over size x size pixels; `size` is odd."""
    return cv2.medianBlur(image, size)


def gaussian_kernel(size, sigma_x, sigma_y, angle):
    """Returns a float32 kernel [size, size] (size odd), sum 1: an anisotropic Gaussian, sigmas in pixels.

    angle: of the first axis, in degrees from the image's x axis towards its y axis, which points down.
    """
    x, y = np.meshgrid(*2 * [np.arange(size) - size // 2])
    cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    along, across = cosine * x + sine * y, cosine * y - sine * x
    kernel = np.exp(-0.5 * ((along / sigma_x) ** 2 + (across / sigma_y) ** 2))
    return (kernel / kernel.sum()).astype(np.float32)


def motion_kernel(size, angle, direction):
    """Returns a float32 kernel [size, size] (size odd), sum 1: a line through the centre, `angle` in degrees.

    direction in [-1, 1]: slope of the weights along the line; 0: uniform, -1 or 1: linear down to 0 at one end.
    """
    kernel = np.zeros((size, size), np.float32)
    forward = (direction + 1) / 2
    kernel[:, size // 2] = np.linspace(forward, 1 - forward, size)
    centre = (size - 1) / 2
    kernel = cv2.warpAffine(kernel, cv2.getRotationMatrix2D((centre, centre), angle, 1.0), (size, size))
    return kernel / kernel.sum()


def motion_blur(image, size, angle, direction):
    """Blurs along a line; arguments as for motion_kernel."""
    return cv2.filter2D(image, -1, motion_kernel(size, angle, direction), borderType=cv2.BORDER_REFLECT_101)


def resize(image, size, name):
    """Resizes to size x size by one of FILTERS (OpenCV; only area antialiases, as in the published chain)."""
    return cv2.resize(image, (size, size), interpolation=FILTERS[name])


def gaussian_noise(image, sigma, coloured, rng):
    """Adds Gaussian noise, sigma in 0..255: equal in a pixel's channels, or independent per channel if coloured."""
    noise = rng.standard_normal(image.shape if coloured else (*image.shape[:2], 1), dtype=np.float32)
    return np.clip(np.rint(image + sigma * noise), 0, 255).astype(np.uint8)


def jpeg(image, quality):
    """Applies JPEG compression of this quality (1 to 100) with 4:2:0 chroma subsampling."""
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def random_blur(image, rng):
    """Returns (image, record) after one of the four BLURS, chosen with equal probability."""
    name = BLURS[rng.integers(4)]
    if name == "gaussian":
        values = {"sigma": float(rng.uniform(*GAUSSIAN_SIGMA))}
        return gaussian_blur(image, **values), {"blur": name, **values}
    if name == "average":
        values = {"size": int(rng.integers(*AVERAGE_SIZE, endpoint=True))}
        return average_blur(image, **values), {"blur": name, **values}
    size = int(rng.integers(*(MEDIAN_SIZE if name == "median" else MOTION_SIZE), endpoint=True))
    size += 1 - size % 2  # kernels need an odd size
    if name == "median":
        return median_blur(image, size), {"blur": name, "size": size}
    values = {"size": size, "angle": float(rng.uniform(0, 360)), "direction": float(rng.uniform(-1, 1))}
    return motion_blur(image, **values), {"blur": name, **values}


def degrade_ffhq(image, rng):
    """Returns (target, degraded, record) of a square uint8 HWC RGB image; both images keep its size.

    Steps: grey (also the target), blur, resize to 32..127 pixels, noise, JPEG, cubic resize back. The input should have
    FACE_SIZE pixels per side. record: {name: drawn value}, only for the steps that were applied.
    """
    record = {}
    if rng.random() < GREY:
        image, record["grey"] = grey(image), True
    low = image
    if rng.random() < BLUR:
        low, drawn = random_blur(low, rng)
        record |= drawn
    record["low_size"] = int(rng.integers(*LOW_SIZE, endpoint=True))
    record["filter"] = list(FILTERS)[rng.integers(len(FILTERS))]
    low = resize(low, record["low_size"], record["filter"])
    if rng.random() < NOISE:
        record |= {"noise": float(rng.uniform(*NOISE_SIGMA)), "coloured": bool(rng.random() < COLOURED_NOISE)}
        low = gaussian_noise(low, record["noise"], record["coloured"], rng)
    if rng.random() < JPEG:
        record["quality"] = int(rng.integers(*QUALITY, endpoint=True))
        low = jpeg(low, record["quality"])
    return image, resize(low, image.shape[0], "cubic"), record


def random_kernel(image, rng, ranges):
    """Returns (image, record) after one of the blurs of the Pass `ranges`."""
    name = ranges.blurs[rng.integers(len(ranges.blurs))]
    if name == "motion":
        size = int(rng.integers(*ranges.motion_size, endpoint=True))
        values = {"size": size + 1 - size % 2, "angle": float(rng.uniform(0, 360)),
                  "direction": float(rng.uniform(-1, 1))}
        return motion_blur(image, **values), {"blur": name, **values}
    if name == "isotropic":  # separable, so faster than filter2D
        sigma = float(rng.uniform(*ranges.sigma))
        blurred = cv2.GaussianBlur(image, (GPEN_KERNEL, GPEN_KERNEL), sigma, borderType=cv2.BORDER_REFLECT_101)
        return blurred, {"blur": name, "sigma": sigma}
    values = {"sigma_x": float(rng.uniform(*ranges.sigma)), "sigma_y": float(rng.uniform(*ranges.sigma)),
              "angle": float(rng.uniform(-180, 180))}
    kernel = gaussian_kernel(GPEN_KERNEL, **values)
    return cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101), {"blur": name, **values}


def one_pass(image, rng, ranges):
    """Returns (image of the same size, record): blur, bilinear downscale, coloured noise, JPEG, bilinear upscale."""
    side = image.shape[0]
    low, record = random_kernel(image, rng, ranges)
    record["scale"] = float(rng.uniform(*ranges.scale))
    low = resize(low, int(side / record["scale"]), "linear")
    record["noise"] = float(rng.uniform(*ranges.noise))
    low = gaussian_noise(low, record["noise"], True, rng)
    record["quality"] = int(rng.integers(*ranges.quality, endpoint=True))
    return resize(jpeg(low, record["quality"]), side, "linear"), record


def degrade_gpen(image, rng):
    """GPEN's published chain: grey with p 0.2 (also the target), then one pass. Returns as degrade_ffhq."""
    record = {}
    if rng.random() < GPEN_GREY:
        image, record["grey"] = grey(image), True
    low, drawn = one_pass(image, rng, GPEN)
    return image, low, record | drawn


def degrade_hard(image, rng):
    """degrade_gpen with two passes of HARD; the names in the record end in _1 and _2."""
    record = {}
    if rng.random() < GPEN_GREY:
        image, record["grey"] = grey(image), True
    low = image
    for number in (1, 2):
        low, drawn = one_pass(low, rng, HARD)
        record |= {f"{name}_{number}": value for name, value in drawn.items()}
    return image, low, record


CHAINS = {"ffhq": degrade_ffhq, "gpen": degrade_gpen, "hard": degrade_hard}
