"""What makes a good face a bad one: pure functions of a uint8 HWC RGB picture and numpy's generator.

    python -m data.degradations FACES grid.png     what the published chain does to some faces

`degrade_ffhq` is the chain that SPARNetHD was trained with, range for range (it was written with imgaug; the kernels'
details follow that library). Every number it drew is in the record that it returns.
"""
import argparse

import cv2
import numpy as np
from PIL import Image

from utils.errors import run_main

# The published chain: probabilities and ranges. Whole-number ranges include both ends unless said.
FACE_SIZE = 512  # pixels; the ranges below count in pixels of such a face
GREY, BLUR, NOISE, COLOURED_NOISE, JPEG = 0.3, 0.5, 0.2, 0.5, 0.7
GAUSSIAN_SIGMA, AVERAGE_SIZE, MEDIAN_SIZE, MOTION_SIZE = (3.0, 15.0), (3, 15), (3, 15), (5, 25)
LOW_SIZE = (32, 127)  # pixels of the small picture
NOISE_SIGMA, QUALITY = (0.0, 25.5), (35, 90)
FILTERS = {"nearest": cv2.INTER_NEAREST, "linear": cv2.INTER_LINEAR, "area": cv2.INTER_AREA, "cubic": cv2.INTER_CUBIC}
BLURS = ("gaussian", "average", "median", "motion")


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


def main():
    from utils.images import centre_square, grid, list_images, read_rgb, save_image
    from utils.images import resize as resize_whole
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", help="folder of faces")
    parser.add_argument("target", help="picture to write: each row a face, then its degradations")
    parser.add_argument("--size", type=int, default=256, help="pixels of a face in the grid")
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--columns", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    rows = []
    for y, path in enumerate(list_images(a.faces, "FACES")[:a.rows]):
        image = read_rgb(path)
        face = np.asarray(resize_whole(image, FACE_SIZE, centre_square(image.size)))
        rows.append([face])
        for x in range(a.columns):
            _, low, record = degrade_ffhq(face, np.random.default_rng([a.seed, y, x]))
            rows[-1].append(low)
            print(f"row {y + 1} column {x + 2}: " + ", ".join(f"{k} {v}" for k, v in record.items()))
    shown = [[np.asarray(resize_whole(Image.fromarray(picture), a.size)) for picture in row] for row in rows]
    save_image(grid(shown), a.target)
    print(f"Look at {a.target} (face | degraded ...)")


if __name__ == "__main__":
    run_main(main)
