# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Finds the faces of a photo and their five points: YuNet finds them, O-Net checks them and corrects the points.

YuNet (pretrained/yunet) sees the photo at several sizes, because it finds faces of about 20 to 400 pixels best, and
with a reflected border, because it misses faces that are cut off by the frame. Its points are rough: 0.11 of the eyes'
distance beside human annotation. O-Net (pretrained/onet) looks at each face again, cut out upright.
"""
from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from skimage.transform import estimate_transform, matrix_transform

from models.onet import SIZE, ONet
from models.weights import match_weights, read_weights
from restore.alignment import TEMPLATE, crop_scale, finer_grid
from utils.files import check_regular_file
from utils.opencv import quiet
from utils.pretrained import FOLDER, check_known_file

DETECTOR = FOLDER / "yunet" / "yunet_n_dynamic.onnx"
REFINER = FOLDER / "onet" / "onet.safetensors"
CONFIDENCE, TRUST = 0.6, 0.5  # least score of YuNet and least face probability of O-Net
DOUBTFUL, SURE = 0.4, 0.97  # or: YuNet gives less to small faces, of which O-Net is sure
NOTEWORTHY = 0.2  # trust from which on a find with YuNet's CONFIDENCE is worth a word; less: mostly textures
ALL_ANGLES = (0, 90, 180, 270)

# The pyramid
PIXELS = 6e6  # of the photo as YuNet sees it with the default smallest face: time follows from them
SMALLEST_FACE = 14  # pixels: default of min_face
LARGEST_SCALE = 3.0  # further enlarging brings false finds
SMALLEST_SIDE = 256  # smaller pictures are enlarged until the longer side has so many pixels
SIDES = (640, 256)  # longer sides of the reduced photos
NEXT = 1.25  # least ratio of two neighbouring sizes
LARGEST_FACE = 200  # pixels: longer side of the largest face that is looked for at a size, unless it is the smallest
PIECE = 4e6  # pixels at a time: memory follows from them, about 60 MB per megapixel
BORDER, WIDEST_BORDER = 0.3, 96  # reflected border: share of the longer side; pixels

OVERLAP, INSIDE = 0.3, 0.7  # two finds are one face from this intersection on: of their union, of the smaller one
VISIBLE = 0.4  # least share of a find that lies in the photo: the reflected border shows faces again

# Where a face lies in O-Net's crop: distance of the eyes, and mean of the five points, in sides of the crop. Chosen on
# youtube68_128/train for the lowest error of O-Net's points.
EYES, CENTRE = 0.4, (0.5, 0.57)
CROP = (TEMPLATE - TEMPLATE.mean(0)) / (TEMPLATE[1, 0] - TEMPLATE[0, 0]) * EYES * SIZE + np.multiply(CENTRE, SIZE) - 0.5
PASSES = 2  # each one cuts the face by the points of the one before
TURNS = (-45, 0, 45)  # degrees, tried where heads may be turned: YuNet's points look upright even then
BATCH = 128  # crops per batch, each with its mirror image
MIRRORED = [1, 0, 2, 4, 3]  # the points' order in a mirror image


class Face(NamedTuple):
    """A face in a photo. Coordinates are in pixels of the photo; pixel centres are whole numbers.

    points: float32 [5, 2], (x, y) of the eyes, the nose tip and the corners of the mouth, in the order left, right of
        the face when upright. Points may lie outside the photo.
    box: left, top, width and height; it may exceed the photo.
    score: YuNet's, 0.4 to 1.
    trust: O-Net's face probability, 0.5 to 1; from 0.2 on if the face is doubtful.
    angle: degrees by which the face is turned clockwise, in (-180, 180]; 0: upright.
    doubtful: whether it is probably no face.
    """
    points: np.ndarray
    box: tuple[float, float, float, float]
    score: float
    trust: float
    angle: float
    doubtful: bool = False

    @property
    def eye_distance(self) -> float:
        """Distance between the eyes in pixels."""
        return float(np.linalg.norm(self.points[1] - self.points[0]))

    @property
    def size(self) -> float:
        """Longer side of the box in pixels."""
        return max(self.box[2:])


class _Level(NamedTuple):
    """The photo at one size: uint8 HWC RGB; `scale` times as large as the photo."""
    picture: np.ndarray
    scale: float


class _Finds(NamedTuple):
    """YuNet's N finds in pixels of the photo: corners [N, 2, 2] of the boxes, points [N, 5, 2], scores [N]."""
    corners: np.ndarray
    points: np.ndarray
    scores: np.ndarray

    def take(self, index: np.ndarray) -> _Finds:
        """Returns the finds that a numpy index or mask selects."""
        return _Finds(*(part[index] for part in self))

    @property
    def sizes(self) -> np.ndarray:
        """Longer sides of the boxes in pixels."""
        return (self.corners[:, 1] - self.corners[:, 0]).max(1)


class FaceFinder:
    """Finds faces: `finder(picture)`. One thread at a time."""

    def __init__(self) -> None:
        self._detector = _make_detector()
        self._refiner = ONet()
        self._refiner.load_state_dict(match_weights(self._refiner, read_weights(REFINER)))
        self._refiner.requires_grad_(False).eval()

    def __call__(self, picture: np.ndarray, min_face: float | None = None, max_face: float | None = None,
                 angles: Sequence[int] = (0,), doubtful: bool = False) -> list[Face]:
        """Returns the faces of `picture`, uint8 HWC RGB, from left to right.

        min_face, max_face: limits of a face's longer side in pixels. The time follows from min_face: photos are
            enlarged or reduced until YuNet sees such a face well. Default: SMALLEST_FACE or, in photos of more than
            PIXELS / 4, more in proportion; without an upper limit.
        angles: multiples of 90 degrees by which heads may be turned clockwise; 0 finds heads up to about 30 degrees.
            ALL_ANGLES finds heads at every angle, in about four times the time.
        doubtful: whether finds of which YuNet is sure and O-Net is not are returned, too, marked as doubtful.
        """
        levels = _pyramid(picture, min_face or SMALLEST_FACE)
        parts = [self._detect(level, angle, LARGEST_FACE if level is not levels[-1] else math.inf)
                 for level in levels for angle in angles]
        finds = _Finds(*map(np.concatenate, zip(*parts, strict=True)))
        finds = finds.take(_is_visible(finds, picture.shape)
                           & (finds.sizes >= (min_face or 0)) & (finds.sizes <= (max_face or math.inf)))
        if len(angles) == 1:  # between orientations the better points decide, which O-Net has to find first
            finds = finds.take(_distinct(finds.corners, finds.scores))
        points, trust = self._refine(levels, finds.points, turned=len(angles) > 1)
        sure = (trust >= TRUST) & (finds.scores >= CONFIDENCE) | (trust >= SURE)
        kept = sure | (finds.scores >= CONFIDENCE) & (trust >= NOTEWORTHY) if doubtful else sure
        finds, points, trust, sure = finds.take(kept), points[kept], trust[kept], sure[kept]
        # A wrong orientation costs more trust than score. What is doubtful displaces no face.
        chosen = _distinct(finds.corners, np.where(sure, finds.scores * trust ** 4, finds.scores - 2))
        return sorted((_face(finds.take(i), points[i], trust[i], not sure[i]) for i in chosen),
                      key=lambda face: float(face.points[:, 0].mean()))

    def _detect(self, level: _Level, angle: int, largest: float) -> _Finds:
        """Returns YuNet's finds of up to `largest` pixels at `level`, seen turned counter-clockwise by `angle`."""
        border = math.ceil(min(BORDER * max(level.picture.shape), WIDEST_BORDER))
        bordered = cv2.copyMakeBorder(level.picture, *[border] * 4, cv2.BORDER_REFLECT)
        found = [np.zeros((0, 8, 2))]
        for left, top, piece in _pieces(bordered):
            height, width = piece.shape[:2]
            seen = np.ascontiguousarray(np.rot90(piece, angle // 90)[..., ::-1])  # YuNet takes BGR
            self._detector.setInputSize((seen.shape[1], seen.shape[0]))
            _, rows = self._detector.detect(seen)
            if rows is None:
                continue
            rows = rows[rows[:, 2:4].max(1) <= largest].astype(float)
            places = np.stack([rows[:, :2], rows[:, :2] + rows[:, 2:4] - 1, *rows[:, 4:14].reshape(-1, 5, 2)
                               .transpose(1, 0, 2)], 1)
            places = (_turned_back(places, angle, width, height) + (left - border, top - border) + 0.5) / level.scale
            found.append(np.concatenate([places - 0.5, rows[:, [14, 14]][:, None]], 1))
        places = np.concatenate(found)
        return _Finds(np.sort(places[:, :2], axis=1), places[:, 2:7], places[:, 7, 0])  # turned corners change places

    def _refine(self, levels: Sequence[_Level], points: np.ndarray, turned: bool) -> tuple[np.ndarray, np.ndarray]:
        """Returns O-Net's points [N, 5, 2] and face probabilities [N] for the faces with roughly the given points.

        turned: whether faces may be turned against their points by more than O-Net corrects.
        """
        trust = np.zeros(len(points))
        for turns in ([TURNS] * PASSES if turned else []) + [(0,)] * (1 if turned else PASSES):
            tries = [self._look(levels, points, turn) for turn in turns]
            best = np.argmax([probable for _, probable in tries], axis=0)
            points, trust = (np.stack(parts)[best, np.arange(len(points))] for parts in zip(*tries, strict=True))
        return points, trust

    def _look(self, levels: Sequence[_Level], points: np.ndarray, turn: float) -> tuple[np.ndarray, np.ndarray]:
        """Returns O-Net's points and face probabilities; each face is cut out upright, then turned by `turn`."""
        matrices = [_to_crop(face, turn) for face in points]
        found = [np.zeros((0, 5, 2))]
        trust = [np.zeros(0)]
        for start in range(0, len(matrices), BATCH):
            part = matrices[start:start + BATCH]
            crops = torch.from_numpy(np.stack([_cut(levels, matrix) for matrix in part])).permute(0, 3, 1, 2)
            crops = (crops.float() - 127.5) / 128
            probability, _, places = (out.unflatten(0, (2, -1)).numpy()
                                      for out in self._refiner(torch.cat([crops, crops.flip(3)])))
            places[1, ..., 0] = 1 - places[1, ..., 0]
            places = (places[0] + places[1][:, MIRRORED]) / 2 * SIZE - 0.5
            found.append(np.stack([matrix_transform(place, np.linalg.inv(matrix))
                                   for matrix, place in zip(part, places, strict=True)]))
            trust.append(probability.mean(0))
        return np.concatenate(found), np.concatenate(trust)


def find_points(picture: np.ndarray, finder: FaceFinder | None = None) -> np.ndarray | None:
    """float32 [5, 2], (x, y) in pixels: eyes, nose tip, corners of the mouth, of the surest face; None without a face.

    picture: uint8 HWC RGB.
    """
    faces = (finder or FaceFinder())(picture)
    return max(faces, key=lambda face: face.score * face.trust).points if faces else None


def _make_detector() -> cv2.FaceDetectorYN:
    """Returns a YuNet. Raises UserError if its file is missing or damaged."""
    check_regular_file(DETECTOR)
    check_known_file(DETECTOR)
    with quiet():  # OpenCV 5 warns of a target nobody asked for
        return cv2.FaceDetectorYN.create(str(DETECTOR), "", (SMALLEST_SIDE, SMALLEST_SIDE), DOUBTFUL)


def _pyramid(picture: np.ndarray, min_face: float) -> list[_Level]:
    """Returns the photo at the sizes that YuNet sees, from large to small."""
    height, width = picture.shape[:2]
    least = SMALLEST_SIDE / max(height, width)
    largest = min(max(2.0, least), math.sqrt(PIXELS / (height * width))) * SMALLEST_FACE / min_face
    largest = max(least, min(largest, LARGEST_SCALE))
    scales = [1.0 if 1 <= largest < NEXT else largest]
    for side in SIDES:
        if side / max(height, width) * NEXT <= scales[-1]:
            scales.append(side / max(height, width))
    return [_Level(_resize(picture, scale), scale) for scale in scales]


def _pieces(picture: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yields (left, top, piece): pieces along the longer side, of about PIECE pixels, overlapping by LARGEST_FACE."""
    height, width = picture.shape[:2]
    longer, shorter = max(height, width), min(height, width)
    length = max(round(PIECE / shorter), 2 * LARGEST_FACE)
    for start in range(0, max(1, longer - LARGEST_FACE), length - LARGEST_FACE):
        if height > width:
            yield 0, start, picture[start:start + length]
        else:
            yield start, 0, picture[:, start:start + length]


def _resize(picture: np.ndarray, scale: float) -> np.ndarray:
    if scale == 1:
        return picture
    size = [max(1, round(length * scale)) for length in picture.shape[1::-1]]
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def _turned_back(places: np.ndarray, angle: int, width: int, height: int) -> np.ndarray:
    """Returns where points (x, y) of a picture turned counter-clockwise by `angle` were in it, `width` x `height`."""
    x, y = places[..., 0], places[..., 1]
    return np.stack({0: (x, y), 90: (width - 1 - y, x), 180: (width - 1 - x, height - 1 - y),
                     270: (y, height - 1 - x)}[angle % 360], -1)


def _is_visible(finds: _Finds, shape: tuple[int, ...]) -> np.ndarray:
    """Returns which finds lie in the photo by VISIBLE at least."""
    first, last = finds.corners[:, 0], finds.corners[:, 1]
    inside = (np.minimum(last, (shape[1] - 1, shape[0] - 1)) - np.maximum(first, 0)).clip(0)
    return inside.prod(1) >= VISIBLE * (last - first).prod(1)


def _distinct(corners: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Returns the indices of the finds to keep, the best first: of finds that are one face, the one of best score."""
    areas = (corners[:, 1] - corners[:, 0]).prod(1)
    left = np.argsort(-scores, kind="stable")
    kept = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        common = (np.minimum(corners[best, 1], corners[left, 1]) - np.maximum(corners[best, 0], corners[left, 0]))
        common = common.clip(0).prod(1)
        union = areas[best] + areas[left] - common
        left = left[(common <= OVERLAP * union) & (common <= INSIDE * np.minimum(areas[best], areas[left]))]
    return np.array(kept, int)


def _to_crop(points: np.ndarray, turn: float) -> np.ndarray:
    """Returns the 3x3 matrix from the photo to O-Net's crop in which the face is upright, turned by `turn` degrees."""
    matrix = estimate_transform("similarity", points, CROP).params
    middle = (SIZE - 1) / 2
    return np.vstack([cv2.getRotationMatrix2D((middle, middle), turn, 1), (0, 0, 1)]) @ matrix


def _cut(levels: Sequence[_Level], matrix: np.ndarray) -> np.ndarray:
    """Returns O-Net's crop, uint8 [48, 48, 3], of the smallest level that has its detail, with antialiasing."""
    scale = crop_scale(matrix[:2])
    level = next((level for level in reversed(levels) if level.scale >= scale), levels[0])
    finer = max(1, math.ceil(level.scale / scale - 0.01))  # the crop is cut so many times too large, then averaged
    to_photo = np.vstack([finer_grid(1 / level.scale), (0, 0, 1)])
    crop = cv2.warpAffine(level.picture, finer_grid(finer) @ matrix @ to_photo, (SIZE * finer, SIZE * finer),
                          flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return cv2.resize(crop, (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def _face(find: _Finds, points: np.ndarray, trust: float, doubtful: bool) -> Face:
    (left, top), (right, bottom) = find.corners.tolist()
    return Face(points.astype(np.float32), (left, top, right - left + 1, bottom - top + 1), float(find.scores),
                float(trust), math.degrees(estimate_transform("similarity", CROP, points).rotation), bool(doubtful))
