"""Random crops and flips of the published recipes. All randomness comes from numpy's generator `rng`."""
import math

from utils.images import centre_square, resize

AUGMENTATIONS = ("fixed", "upstream", "none")
FLIP, LARGEST_SCALE, CROP_AREA, CROP_RATIO = 0.5, 1.3, (0.7, 1.0), (3 / 4, 4 / 3)


def random_crop_box(width, height, rng, attempts=10):
    """(left, top, right, bottom) of a random part: area 0.7 to 1 of the whole, ratio 3/4 to 4/3 (log-uniform).

    Where the drawn shape does not fit, another is drawn; after `attempts`, the whole picture.
    """
    for _ in range(attempts):
        area = width * height * rng.uniform(*CROP_AREA)
        ratio = math.exp(rng.uniform(*map(math.log, CROP_RATIO)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
            return left, top, left + w, top + h
    return 0, 0, width, height


def fixed_box(square, size, rng):
    """(left, top, right, bottom), fractional, of the published random crop as it was meant, within a square box.

    Published: scale by U[1, 1.3], then crop 0.7 to 1 of the scaled picture's area, to size x size. The
    scaling cancels out of such a relative crop, so all that is left of it is the crop's box.
    """
    left, top, right, _ = square
    unit = (right - left) / size
    return [start + edge * unit
            for start, edge in zip((left, top, left, top), random_crop_box(size, size, rng), strict=True)]


def crop_fixed(image, size, rng):
    """A random crop of the picture's centred square, in ONE bicubic resampling from the original picture."""
    return resize(image, size, fixed_box(centre_square(image.size), size, rng))


def crop_upstream(image, size, rng):
    """The published code's crop with its fault: the box is drawn for the unscaled picture.

    So it always lies at the top left of the scaled one, and a picture whose scaled width rounds to its own
    comes back without any crop.
    """
    image = resize(image, size, centre_square(image.size))
    scaled = int(size * rng.uniform(1, LARGEST_SCALE))
    if scaled == size:
        return image
    return resize(resize(image, scaled), size, random_crop_box(size, size, rng))
