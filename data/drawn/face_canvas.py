# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""A small painter for the built-in faces: antialiased shapes, class labels, noise and light.

It works at twice the image's side. Lengths are in units of 1/128 of the side (see data.drawn.face_shape), so a face
looks the same at every size. Images are planar float32 [3, w, w], linear RGB, because numpy multiplies a
[w, w] mask into planes far faster than into interleaved pixels.
"""

from functools import lru_cache

import cv2
import numpy as np

GRID = 128  # side of the grid on which smooth layers (relief, shadows, backdrops) are computed
SUBPIXEL_BITS = 4


@lru_cache(maxsize=8)
def coordinates(width):
    """Returns float32 x [1, width] and y [width, 1], the pixel centres in units."""
    centres = ((np.arange(width, dtype=np.float32) + .5) * (128 / width)).astype(np.float32)
    return centres[None, :], centres[:, None]


@lru_cache(maxsize=64)
def spline_basis(count, closed, steps):
    """Returns float64 [samples, count], the matrix from `count` points to a Catmull-Rom curve through them."""
    spans = count if closed else count - 1
    position = np.arange(spans * steps + (not closed)) / steps
    span = np.minimum(position.astype(int), spans - 1)
    t = position - span
    square, cube = t**2, t**3
    weights = [-t + 2 * square - cube, 2 - 5 * square + 3 * cube, t + 4 * square - 3 * cube, cube - square]
    basis = np.zeros((len(position), count))
    for offset, weight in zip((-1, 0, 1, 2), weights, strict=True):
        index = (span + offset) % count if closed else np.clip(span + offset, 0, count - 1)
        np.add.at(basis, (np.arange(len(position)), index), weight / 2)
    return basis


def curve(points, closed=False, steps=6):
    """Returns a smooth curve, float64 [samples, 2], through all points [n, 2]."""
    points = np.asarray(points, np.float64)
    return spline_basis(len(points), closed, steps) @ points


def resize(plane, width):
    """Returns a square plane bilinearly resized to width; the same array if it has that width."""
    if len(plane) == width:
        return plane
    return cv2.resize(plane, (width, width), interpolation=cv2.INTER_LINEAR)


def grain(rng, rows, columns, width):
    """Returns smooth noise float32 [width, width], mean 0, of rows x columns interpolated normal values."""
    cells = rng.standard_normal((rows, columns), dtype=np.float32)
    return cv2.resize(cells, (width, width), interpolation=cv2.INTER_LINEAR)


def blobs(centres, radii, heights):
    """Returns float32 [GRID, GRID], a sum of axis-aligned Gaussians; separable, hence one matrix product."""
    x, y = coordinates(GRID)
    centres, radii = np.asarray(centres, np.float32), np.asarray(radii, np.float32)
    across = np.exp(-np.square((x - centres[:, :1]) / radii[:, :1]) / 2)
    down = np.exp(-np.square((y - centres[:, 1]) / radii[:, 1]) / 2)
    return (down * np.asarray(heights, np.float32)) @ across


class Canvas:
    """The image in progress: `image` float32 [3, w, w] linear RGB and `labels` uint8 [w, w]."""

    def __init__(self, size):
        self.width = 2 * size
        self.scale = self.width / 128
        self.image = np.zeros((3, self.width, self.width), np.float32)
        self.labels = np.zeros((self.width, self.width), np.uint8)

    def fixed_point(self, points):
        """Converts unit coordinates to OpenCV's fixed-point pixel coordinates."""
        pixels = (np.asarray(points) * self.scale - .5) * (1 << SUBPIXEL_BITS)
        return np.round(pixels).astype(np.int32)

    def fill(self, *contours):
        """Returns a uint8 mask [w, w] of filled contours; areas where an even number overlap are holes."""
        mask = np.zeros((self.width, self.width), np.uint8)
        cv2.fillPoly(mask, [self.fixed_point(c) for c in contours], 255, cv2.LINE_AA, SUBPIXEL_BITS)
        return mask

    def stroke(self, lines, thickness):
        """Returns a uint8 mask of open lines, a list of [n, 2] or an array [lines, n, 2]; thickness in units."""
        mask = np.zeros((self.width, self.width), np.uint8)
        pixels = max(1, round(thickness * self.scale))
        same_length = isinstance(lines, np.ndarray)
        paths = list(self.fixed_point(lines)) if same_length else [self.fixed_point(line) for line in lines]
        cv2.polylines(mask, paths, False, 255, pixels, cv2.LINE_AA, SUBPIXEL_BITS)
        return mask

    def disc(self, centre, radius, squash=1.0, angle=0.0, exponent=2.0):
        """Returns a uint8 mask of a (super)ellipse: radius along x, radius * squash along y, in units."""
        turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        c, s = np.cos(turn), np.sin(turn)
        x = radius * np.sign(c) * np.abs(c) ** (2 / exponent)
        y = radius * squash * np.sign(s) * np.abs(s) ** (2 / exponent)
        rotated = np.stack([x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)], 1)
        return self.fill(np.asarray(centre) + rotated)

    def soften(self, mask, radius):
        """Returns the mask blurred by a Gaussian, sigma `radius` in units; computes only near set pixels."""
        sigma = radius * self.scale
        x, y, w, h = cv2.boundingRect(mask)
        margin = int(3 * sigma) + 1
        window = np.s_[max(0, y - margin):y + h + margin, max(0, x - margin):x + w + margin]
        soft = np.zeros_like(mask)
        if w:
            soft[window] = cv2.GaussianBlur(mask[window], (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
        return soft

    def paint(self, mask, colour, opacity=1.0, label=None, multiply=False, light=None):
        """Blends in a colour ([3], or planar [3, w, w]) under the mask; labels pixels at least half covered.

        light: three planes of side w or GRID, multiplied with the colour. multiply: multiplies the image by the colour
        instead of replacing it (shadows, tints).
        """
        x, y, w, h = cv2.boundingRect(mask)
        if not w:
            return
        window = np.s_[y:y + h, x:x + w]
        alpha = mask[window].astype(np.float32) * np.float32(opacity / 255)
        colour = np.asarray(colour, np.float32)
        for channel in range(3):
            layer = colour[channel][window] if colour.ndim == 3 else colour[channel]
            if light is not None:
                layer = layer * resize(light[channel], self.width)[window]
            target = self.image[channel][window]
            target += (target * (layer - 1) if multiply else layer - target) * alpha
        if label is not None:
            self.labels[window][mask[window] > 127] = label

    def finish(self, rng):
        """Halves the size, applies exposure and sensor noise.

        Returns (image uint8 [size, size, 3] RGB, labels uint8 [size, size]).
        """
        size = self.width // 2
        planes = [cv2.resize(plane, (size, size), interpolation=cv2.INTER_AREA) for plane in self.image]
        image = cv2.merge(planes) * np.float32(rng.uniform(.95, 1.3))
        image = cv2.sqrt(np.clip(image * (1 + .12 * image) / (1 + .3 * image), 0, 1))
        noise = rng.standard_normal((128, 128), dtype=np.float32) * np.float32(rng.uniform(.002, .009))
        image += resize(noise, size)[..., None]
        return np.clip(image * 255 + .5, 0, 255).astype(np.uint8), majority(self.labels)


def majority(labels):
    """Downscales a label map [2n, 2n] to [n, n]: the most frequent label of each 2x2 block."""
    a, b, c, d = labels[::2, ::2], labels[::2, 1::2], labels[1::2, ::2], labels[1::2, 1::2]
    rest = np.where((b == c) | (b == d), b, np.where(c == d, c, a))
    return np.where((a == b) | (a == c) | (a == d), a, rest)


class Light:
    """A key light with a colour, a weaker fill from the other side, and light from all around."""

    def __init__(self, rng):
        azimuth, height = np.radians(rng.uniform(-68, 68)), np.radians(rng.uniform(-6, 55))
        self.key = np.array([np.sin(azimuth) * np.cos(height), -np.sin(height),
                             np.cos(azimuth) * np.cos(height)], np.float32)
        warmth = rng.normal(0, .07)
        contrast = rng.uniform(.4, 1)
        self.key_colour = np.array([1 + warmth, 1, 1 - warmth], np.float32) * np.float32(.65 + .65 * contrast)
        self.ambient = np.array([1 - warmth, 1, 1 + warmth], np.float32) * np.float32(.44 - .35 * contrast)
        self.fill = np.array([-np.sign(self.key[0]) * .8, -.1, .6], np.float32)
        self.fill_strength = np.float32(rng.uniform(.03, .22))
        half = self.key + (0, 0, 1)
        self.half = half / np.linalg.norm(half)

    def shade(self, height, shadow=None):
        """Computes the light on a relief.

        height is float32 [GRID, GRID] in units (larger is nearer); shadow, same shape in 0..1, is the
        blocked share of the key light. Returns ([3 planes of GRID x GRID] to multiply the
        surface's colour by, specular [GRID, GRID] in 0..1).
        """
        nx, ny = -cv2.Sobel(height, -1, 1, 0, scale=.125), -cv2.Sobel(height, -1, 0, 1, scale=.125)
        nz = 1 / np.sqrt(1 + nx * nx + ny * ny)
        nx *= nz
        ny *= nz
        key = nx * self.key[0] + ny * self.key[1] + nz * self.key[2]
        lit = 1 if shadow is None else 1 - shadow
        fill = self.fill_strength * np.maximum(nx * self.fill[0] + ny * self.fill[1] + nz * self.fill[2], 0)
        sky = .8 - .2 * ny + fill
        planes = []
        # Subsurface scattering: red light reaches furthest past the terminator.
        for wrap, key_colour, ambient in zip((.34, .22, .17), self.key_colour, self.ambient, strict=True):
            diffuse = np.maximum((key + wrap) * (1 / (1 + wrap)), 0) * lit
            planes.append(key_colour * diffuse + ambient * sky + key_colour * fill)
        shine = np.maximum(nx * self.half[0] + ny * self.half[1] + nz * self.half[2], 0)
        for _ in range(4):
            shine = shine * shine  # 16th power: squaring is faster than np.power
        return planes, shine * lit

    def cast(self, mask, distance, softness):
        """Returns the shadow float32 [GRID, GRID], 0..1, of a mask, moved `distance` units from the key light."""
        small = cv2.resize(mask, (GRID, GRID), interpolation=cv2.INTER_AREA)
        move = np.float32([[1, 0, -self.key[0] * distance], [0, 1, -self.key[1] * distance + .2 * distance]])
        moved = cv2.warpAffine(small, move, (GRID, GRID), borderMode=cv2.BORDER_REPLICATE)
        return cv2.GaussianBlur(moved, (0, 0), softness).astype(np.float32) / 255
