"""What makes a good face a bad one: pure functions of a uint8 HWC RGB picture and numpy's generator.

`degrade_ffhq` is the chain that SPARNetHD was trained with, range for range (it was written with imgaug; the kernels'
details follow that library), `degrade_gpen` the one of GPEN's published training code, `degrade_hard` a harder one of
the same parts. Every number that a chain drew is in the record that it returns.
"""
from typing import NamedTuple

import cv2
import numpy as np

# The published chain: probabilities and ranges. Whole-number ranges include both ends unless said.
FACE_SIZE = 512  # pixels; the ranges below count in pixels of such a face
GREY, BLUR, NOISE, COLOURED_NOISE, JPEG = 0.3, 0.5, 0.2, 0.5, 0.7
GAUSSIAN_SIGMA, AVERAGE_SIZE, MEDIAN_SIZE, MOTION_SIZE = (3.0, 15.0), (3, 15), (3, 15), (5, 25)
LOW_SIZE = (32, 127)  # pixels of the small picture
NOISE_SIGMA, QUALITY = (0.0, 25.5), (35, 90)
FILTERS = {"nearest": cv2.INTER_NEAREST, "linear": cv2.INTER_LINEAR, "area": cv2.INTER_AREA, "cubic": cv2.INTER_CUBIC}
BLURS = ("gaussian", "average", "median", "motion")


class Pass(NamedTuple):
    """The ranges of one blur, downscale, noise, JPEG and way back up (one_pass)."""
    blurs: tuple  # as likely as one another
    sigma: tuple  # pixels, of either axis of a Gaussian
    motion_size: tuple  # pixels, an even number counting as the next odd one
    scale: tuple  # times smaller
    noise: tuple  # standard deviation in units of 0..255, for each channel its own
    quality: tuple  # of the JPEG file


# GPEN's training code (which is GFPGAN's chain), counting in pixels of the network: published for 512 of them.
GPEN_GREY, GPEN_KERNEL = 0.2, 41
GPEN = Pass(("isotropic", "anisotropic"), (0.1, 10.0), (), (0.8, 8.0), (0.0, 20.0), (60, 100))
# Bad pictures have mostly been through more than one camera, screen or service: so two passes, and motion blur, which
# GPEN's paper has and its code has not. Noise is the paper's. The paper's downscale (10 to 200 times, of 1024 pixels)
# and JPEG (quality 5 to 50), twice, would leave nothing to restore: here the smallest face is one of 32 pixels, twice.
HARD = Pass(("isotropic", "anisotropic", "motion"), (0.1, 10.0), (5, 41), (1.0, 16.0), (0.0, 25.0), (20, 90))


def grey(image):
    """The same picture without colour (ITU-R 601 luma), still three channels."""
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def gaussian_blur(image, sigma):
    """sigma in pixels. The kernel is cut where imgaug cuts it: 2.6 sigma wide above 5, wider below."""
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
    """size x size (odd) float32 kernel of sum 1: a Gaussian of two widths in pixels, the first axis at `angle`.

    angle: degrees from the picture's x axis towards its y axis, which points down.
    """
    x, y = np.meshgrid(*2 * [np.arange(size) - size // 2])
    cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    along, across = cosine * x + sine * y, cosine * y - sine * x
    kernel = np.exp(-0.5 * ((along / sigma_x) ** 2 + (across / sigma_y) ** 2))
    return (kernel / kernel.sum()).astype(np.float32)


def motion_kernel(size, angle, direction):
    """size x size (odd) float32 kernel of sum 1: a line through the centre, `angle` in degrees.

    direction in [-1, 1]: how the weight is spread along the line, -1 all towards one end, 0 evenly, 1 to the other.
    """
    kernel = np.zeros((size, size), np.float32)
    forward = (direction + 1) / 2
    kernel[:, size // 2] = np.linspace(forward, 1 - forward, size)
    centre = (size - 1) / 2
    kernel = cv2.warpAffine(kernel, cv2.getRotationMatrix2D((centre, centre), angle, 1.0), (size, size))
    return kernel / kernel.sum()


def motion_blur(image, size, angle, direction):
    """The picture along a line, see motion_kernel."""
    return cv2.filter2D(image, -1, motion_kernel(size, angle, direction), borderType=cv2.BORDER_REFLECT_101)


def resize(image, size, name):
    """To size x size by one of FILTERS (OpenCV's, without antialiasing but for area, as the chain has it)."""
    return cv2.resize(image, (size, size), interpolation=FILTERS[name])


def gaussian_noise(image, sigma, coloured, rng):
    """Normal noise in units of 0..255: the same for all channels of a pixel, or (coloured) for each its own."""
    noise = rng.standard_normal(image.shape if coloured else (*image.shape[:2], 1), dtype=np.float32)
    return np.clip(np.rint(image + sigma * noise), 0, 255).astype(np.uint8)


def jpeg(image, quality):
    """Through a JPEG file of this quality (1 to 100), chroma subsampled 4:2:0."""
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def random_blur(image, rng):
    """(picture, record) after one of the four blurs, each as likely as the others."""
    name = BLURS[rng.integers(4)]
    if name == "gaussian":
        values = {"sigma": float(rng.uniform(*GAUSSIAN_SIGMA))}
        return gaussian_blur(image, **values), {"blur": name, **values}
    if name == "average":
        values = {"size": int(rng.integers(*AVERAGE_SIZE, endpoint=True))}
        return average_blur(image, **values), {"blur": name, **values}
    size = int(rng.integers(*(MEDIAN_SIZE if name == "median" else MOTION_SIZE), endpoint=True))
    size += 1 - size % 2  # an even size counts as the next odd one
    if name == "median":
        return median_blur(image, size), {"blur": name, "size": size}
    values = {"size": size, "angle": float(rng.uniform(0, 360)), "direction": float(rng.uniform(-1, 1))}
    return motion_blur(image, **values), {"blur": name, **values}


def degrade_ffhq(image, rng):
    """(target, degraded, record) of a square uint8 HWC RGB picture; all of its size.

    Grey (the target, too), blur, resize to 32..127 pixels, noise, JPEG, and by a cubic back to size; meant for
    FACE_SIZE pixels. record: {name: what was drawn}, without the names of what was left out.
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
    """(picture, record) after one of the blurs of a Pass."""
    name = ranges.blurs[rng.integers(len(ranges.blurs))]
    if name == "motion":
        size = int(rng.integers(*ranges.motion_size, endpoint=True))
        values = {"size": size + 1 - size % 2, "angle": float(rng.uniform(0, 360)),
                  "direction": float(rng.uniform(-1, 1))}
        return motion_blur(image, **values), {"blur": name, **values}
    if name == "isotropic":  # the same kernel as of two equal widths, but separable, which is faster
        sigma = float(rng.uniform(*ranges.sigma))
        blurred = cv2.GaussianBlur(image, (GPEN_KERNEL, GPEN_KERNEL), sigma, borderType=cv2.BORDER_REFLECT_101)
        return blurred, {"blur": name, "sigma": sigma}
    values = {"sigma_x": float(rng.uniform(*ranges.sigma)), "sigma_y": float(rng.uniform(*ranges.sigma)),
              "angle": float(rng.uniform(-180, 180))}
    kernel = gaussian_kernel(GPEN_KERNEL, **values)
    return cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101), {"blur": name, **values}


def one_pass(image, rng, ranges):
    """(picture of the same size, record): blur, bilinear downscale, coloured noise, JPEG, bilinear back up."""
    side = image.shape[0]
    low, record = random_kernel(image, rng, ranges)
    record["scale"] = float(rng.uniform(*ranges.scale))
    low = resize(low, int(side / record["scale"]), "linear")
    record["noise"] = float(rng.uniform(*ranges.noise))
    low = gaussian_noise(low, record["noise"], True, rng)
    record["quality"] = int(rng.integers(*ranges.quality, endpoint=True))
    return resize(jpeg(low, record["quality"]), side, "linear"), record


def degrade_gpen(image, rng):
    """(target, degraded, record) as degrade_ffhq: GPEN's published chain. Grey with p 0.2 (the target, too), a pass."""
    record = {}
    if rng.random() < GPEN_GREY:
        image, record["grey"] = grey(image), True
    low, drawn = one_pass(image, rng, GPEN)
    return image, low, record | drawn


def degrade_hard(image, rng):
    """(target, degraded, record) as degrade_gpen, with two passes of HARD; their names in the record end in _1, _2."""
    record = {}
    if rng.random() < GPEN_GREY:
        image, record["grey"] = grey(image), True
    low = image
    for number in (1, 2):
        low, drawn = one_pass(low, rng, HARD)
        record |= {f"{name}_{number}": value for name, value in drawn.items()}
    return image, low, record


CHAINS = {"ffhq": degrade_ffhq, "gpen": degrade_gpen, "hard": degrade_hard}
