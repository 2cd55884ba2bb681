# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Restores faces with a deployed file, without torch: numpy, Pillow and one runtime are all that it needs.

    restore = deploy.runtimes.load("net.onnx")
    face, = restore([np.asarray(Image.open("face.png").convert("RGB"))])

Neither this file nor anything that it imports imports torch, OpenCV or the networks (tests/deploy/test_runtimes.py
runs it where these cannot be imported). What opens and computes the file is utils/onnx_file.py, below restore/, because
the Restorer takes such files in place of weights.
"""
from __future__ import annotations

import json
import os
from collections.abc import Sequence

import numpy as np
from PIL import Image

from utils.errors import UserError
from utils.images import centre_square, resize, to_trained_side
from utils.onnx_file import RUNTIMES, OnnxNetwork

BATCH_SIZE = 16


def load(path: str | os.PathLike, runtime: str = RUNTIMES[0], *, threads: int | None = None,
         batch_size: int = BATCH_SIZE) -> DeployedRestorer:
    """Returns a function on images for the ONNX file at `path`, which newexport.py wrote.

    runtime: "onnx" (ONNX Runtime) or "openvino". threads: that compute; None: as many as the runtime chooses.
    batch_size: images per pass of the network. Raises UserError for a file that cannot be used and for a runtime that
    is not installed.
    """
    return DeployedRestorer(OnnxNetwork(path, runtime, threads), batch_size)


class DeployedRestorer:
    """Restores images as the Restorer does (restore/restorer.py). Several threads may call it at the same time.

    network   utils/onnx_file.py: OnnxNetwork; its `metadata` is {name: text}
    size      side of the network's square input and output in pixels
    """

    def __init__(self, network: OnnxNetwork, batch_size: int) -> None:
        self.network, self.batch_size = network, batch_size
        try:
            self.size = json.loads(network.metadata["input"])["size"]
            self._kind = network.metadata["input_kind"]
            side = json.loads(network.metadata.get("trained_side", "null"))  # absent from older files
            self._trained_side = None if side is None else int(side)
            self._palette = np.array(json.loads(network.metadata.get("palette", "[]")), np.uint8)
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{network.path}: its metadata does not describe a restoring network. Export it with "
                            f"newexport.py.") from None

    def __call__(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Returns the restored faces, uint8 [size, size, 3], RGB, one per image and in their order.

        images: uint8 [height, width, 3], RGB, of any sizes: the centred square of each is resized by PIL BICUBIC, first
        to the size of the training's faces if all had the same (utils/images.py: to_trained_side). A colorization
        network takes the colour away; one that makes faces of maps also takes uint8 [height, width], class indices, and
        resizes by the nearest pixel. Raises UserError, naming the image by its place in the list, for anything else.
        """
        inputs = [self._input(image, f"image {place}") for place, image in enumerate(images)]
        restored: list[np.ndarray] = []
        for start in range(0, len(inputs), self.batch_size):
            batch = np.stack(inputs[start:start + self.batch_size]).transpose(0, 3, 1, 2)
            faces = self.network(np.ascontiguousarray(batch, np.float32) / np.float32(127.5) - np.float32(1))
            restored.extend(quantize(faces))
        return restored

    def _input(self, image, name):
        """Returns the network's input, uint8 [size, size, 3], RGB, as Restorer.prepare does."""
        maps = self._kind == "map_inputs"
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or not image.size:
            raise UserError(f"{name}: a uint8 array [height, width, 3] is needed, values 0 to 255.")
        if maps and image.ndim == 2:
            if image.max() >= len(self._palette):
                raise UserError(f"{name}: class {image.max()} where 0 to {len(self._palette) - 1} are expected.")
            image = self._palette[image]
        if image.ndim != 3 or image.shape[2] != 3:
            raise UserError(f"{name}: its shape is {image.shape}; an image [height, width, 3] is needed.")
        if maps:
            return nearest_square(image, self.size)
        picture = to_trained_side(Image.fromarray(image), self._trained_side, self.size)
        square = np.asarray(resize(picture, self.size, centre_square(picture.size)))
        return grey(square) if self._kind == "grey_inputs" else square


def grey(image: np.ndarray) -> np.ndarray:
    """Returns uint8 [H, W, 3] as grey: OpenCV's fixed-point ITU-R 601 luma, as data/degradations.py: grey."""
    luma = (image.astype(np.int32) @ np.array([9798, 19235, 3735], np.int32) + (1 << 14)) >> 15
    return np.repeat(luma.astype(np.uint8)[..., None], 3, axis=2)


def nearest_square(image: np.ndarray, side: int) -> np.ndarray:
    """Returns the centred square of uint8 [H, W, 3] at side x side by nearest pixel, as data/seg2face_dataset.py.

    `side` is a power of two, as in all networks that take maps; for others, OpenCV may round a tie the other way.
    """
    left, top, right, bottom = centre_square(image.shape[1::-1])
    rows, columns = ((2 * np.arange(side) + 1) * length // (2 * side) for length in (bottom - top, right - left))
    return image[top:bottom, left:right][rows][:, columns]


def quantize(faces: np.ndarray) -> np.ndarray:
    """Returns float32 [N, 3, S, S] in [-1, 1] as uint8 [N, S, S, 3], rounded as utils/images.py: quantize does."""
    if np.isnan(faces).any():
        raise UserError("the network's output holds nan: its weights are invalid, or half precision overflowed (export "
                        "it as fp32).", status=1)
    values = np.rint((np.clip(faces.astype(np.float64), -1, 1) + 1) / 2 * 255)
    return np.ascontiguousarray(values.astype(np.uint8).transpose(0, 2, 3, 1))
