"""A chain of degradations for faces of 128 pixels: blind restoration from 12 pixels on."""
import math

import numpy as np
from PIL import Image

from data.degradations import gaussian_blur, gaussian_noise, grey, jpeg, motion_blur
from utils.images import resize

# What phones, video and old scans do. A share stays clean, and a share of all large, so that good faces are left alone.
SMALLEST, FULL_SIZE, CLEAN, GREY = 12, 0.2, 0.15, 0.05
BLUR, MOTION, NOISE, COLOURED_NOISE, JPEG = 0.5, 0.3, 0.5, 0.5, 0.6
SIGMA, MOTION_LENGTH = (0.4, 2.0), (3.0, 11.0)  # pixels of a face that is not made smaller; see `widening`
NOISE_SIGMA, QUALITY = (1.0, 20.0), (30, 95)  # of 0..255; JPEG's, ends included
# All antialiased, as cameras and viewers have it; the first as often as the others together.
FILTERS = (Image.Resampling.BICUBIC, Image.Resampling.BILINEAR, Image.Resampling.BOX, Image.Resampling.LANCZOS)


def random_size(side, rng):
    """Pixels of the small face: `side` itself with FULL_SIZE, else from SMALLEST to it, the logarithm uniform."""
    if rng.random() < FULL_SIZE:
        return side
    return round(math.exp(rng.uniform(math.log(min(SMALLEST, side)), math.log(side))))


def random_blur(image, widening, rng):
    """(picture, record): Gaussian, or with MOTION along a line."""
    if rng.random() < MOTION:
        values = {"size": 2 * round((rng.uniform(*MOTION_LENGTH) * widening - 1) / 2) + 1,
                  "angle": float(rng.uniform(0, 360)), "direction": float(rng.uniform(-1, 1))}
        return motion_blur(image, **values), {"blur": "motion", **values}
    sigma = float(rng.uniform(*SIGMA) * widening)
    return gaussian_blur(image, sigma), {"blur": "gaussian", "sigma": sigma}


def degrade_face128(image, rng):
    """(target, degraded, record) of a square uint8 HWC RGB face; all of its size, which is meant to be 128 pixels.

    Grey (the target, too), blur, down to 12 pixels or more, noise, JPEG, each by chance, and back to size by PIL
    BICUBIC, as newtest.py enlarges what it is given. record: {name: what was drawn}, without what was left out.
    """
    record, side = {}, image.shape[0]
    if rng.random() < GREY:
        image, record["grey"] = grey(image), True
    low, size = image, random_size(side, rng)
    clean = rng.random() < CLEAN
    if not clean and rng.random() < BLUR:
        # A camera's blur grows with the pixels of the small face, that of lens and hand does not: between the two.
        low, drawn = random_blur(low, math.sqrt(side / size), rng)
        record |= drawn
    record["low_size"] = size
    if size < side:
        kind = FILTERS[0] if rng.random() < 0.5 else FILTERS[rng.integers(1, len(FILTERS))]
        low, record["filter"] = np.asarray(Image.fromarray(low).resize((size, size), kind)), kind.name.lower()
    if not clean and rng.random() < NOISE:
        record |= {"noise": float(rng.uniform(*NOISE_SIGMA)), "coloured": bool(rng.random() < COLOURED_NOISE)}
        low = gaussian_noise(low, record["noise"], record["coloured"], rng)
    if not clean and rng.random() < JPEG:
        record["quality"] = int(rng.integers(*QUALITY, endpoint=True))
        low = jpeg(low, record["quality"])
    return image, np.asarray(resize(Image.fromarray(low), side)) if size < side else low, record
