# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""A chain of degradations for faces of 128 or 256 pixels, for blind restoration of faces of 12 pixels or more."""
import math

import numpy as np
from PIL import Image

from data.degradations import gaussian_blur, gaussian_noise, grey, jpeg, motion_blur
from utils.images import resize

# Smallest side in pixels, then probabilities: typical of phones, video and old scans. Some faces stay clean (CLEAN) or
# at full size (FULL_SIZE), so that the network learns to leave good faces unchanged.
SMALLEST, FULL_SIZE, CLEAN, GREY = 12, 0.2, 0.15, 0.05
SMALLEST_256 = 32  # of --degradation face256: smaller faces are for networks of 128 pixels
BLUR, MOTION, NOISE, COLOURED_NOISE, JPEG = 0.5, 0.3, 0.5, 0.5, 0.6
SIGMA, MOTION_LENGTH = (0.4, 2.0), (3.0, 11.0)  # in pixels of a full-size face; multiplied by `widening`
NOISE_SIGMA, QUALITY = (1.0, 20.0), (30, 95)  # sigma in grey levels (0..255); JPEG quality, both ends included
# All antialias, as cameras and viewers do. The first is drawn as often as the others together.
FILTERS = (Image.Resampling.BICUBIC, Image.Resampling.BILINEAR, Image.Resampling.BOX, Image.Resampling.LANCZOS)


def random_size(side, rng, smallest=SMALLEST):
    """Returns the small face's side: `side` with probability FULL_SIZE, else log-uniform from `smallest` to `side`."""
    if rng.random() < FULL_SIZE:
        return side
    return round(math.exp(rng.uniform(math.log(min(smallest, side)), math.log(side))))


def random_blur(image, widening, rng):
    """Returns (image, record): a Gaussian blur or, with probability MOTION, a motion blur.

    widening: factor of the blur's size.
    """
    if rng.random() < MOTION:
        values = {"size": 2 * round((rng.uniform(*MOTION_LENGTH) * widening - 1) / 2) + 1,
                  "angle": float(rng.uniform(0, 360)), "direction": float(rng.uniform(-1, 1))}
        return motion_blur(image, **values), {"blur": "motion", **values}
    sigma = float(rng.uniform(*SIGMA) * widening)
    return gaussian_blur(image, sigma), {"blur": "gaussian", "sigma": sigma}


def degrade_face128(image, rng, smallest=SMALLEST):
    """Returns (target, degraded, record) of a square uint8 HWC RGB face; the images have its size.

    Random steps, in order: grey (also the target), blur, reduction to `smallest` pixels or more, noise, JPEG. PIL
    BICUBIC then enlarges the result, as newtest.py enlarges its inputs.
    record: {name: value drawn} of the steps that were applied.
    """
    record, side = {}, image.shape[0]
    if rng.random() < GREY:
        image, record["grey"] = grey(image), True
    low, size = image, random_size(side, rng, smallest)
    clean = rng.random() < CLEAN
    if not clean and rng.random() < BLUR:
        # Blur from a camera's sensor scales with the small face's pixels, blur from lens or shake does not: this factor
        # (the geometric mean of both cases) lies between.
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
