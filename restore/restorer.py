# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""From trained weights to a function on arrays: the one door to a trained network."""
from __future__ import annotations

import os
import threading
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

import utils.device
from data import input_reader
from models import build_recipe
from models.base_model import BaseModel
from models.weights import count_parameters, load_weights
from restore.deployed import DeployedNetwork, check_same_network, deployed_recipe
from restore.description import OPTIONS_FILE, Description, read_description, read_metadata
from utils import amp
from utils.errors import UserError, nearest
from utils.images import BadImage, quantize, to_tensor_range, to_trained_side
from utils.onnx_file import RUNTIMES, SUFFIX
from utils.pretrained import find_pretrained, pretrained_names

BATCH_SIZE = 16  # as newtest.py's --batch_size
HALVES = {"float16": torch.float16, "bfloat16": torch.bfloat16}
OPT_LEVELS = ("O0", "O1", "O2")
SIZES_NAMED = 4  # sizes of images that a note names


class Precision(NamedTuple):
    """How a network computes: `opt_level` O0, O1 or O2 (utils/amp.py), and the half type of O1 and O2."""
    opt_level: str
    half: torch.dtype


class Restorer:
    """Restores faces with one trained network.

        restorer = Restorer.load("sparnet")
        face, = restorer([np.asarray(Image.open("face.png").convert("RGB"))])

    Several threads may call it at the same time: images are prepared side by side, the network runs one batch after
    the other.

    device        torch.device of the network
    recipe        the recipe (models/base_model.py); `network` is its generator
    description   restore/description.py; None for a network that is being trained
    task, input_size, scale_factor    those of the description
    """

    def __init__(self, recipe: BaseModel, device: torch.device, description: Description | None = None,
                 batch_size: int = BATCH_SIZE) -> None:
        """Takes a recipe whose networks are on `device` already. Without a description it restores batches only."""
        self.recipe, self.device, self.description, self.batch_size = recipe, device, description, batch_size
        self._one_batch = threading.Lock()  # recipes may change their network while it restores (batch_statistics)
        self._reader = input_reader(description.task, description.degradation) if description else None

    @classmethod
    def load(cls, name: str | Path, device: str | torch.device = "auto", precision: str | Precision | None = None, *,
             description: Description | None = None, batch_size: int = BATCH_SIZE,
             runtime: str | None = None) -> Restorer:
        """Returns a Restorer with trained weights, ready to be called.

        name: weights that ship with the project (a folder of pretrained/), or the path of a .safetensors or .pth file,
        or of an .onnx file of newexport.py, which computes on the CPU in the precision that it was exported with.
        device: auto, npu, cuda, cpu, or one card as cuda:1.
        precision: None or "float32" (O0); "O1" or "O2", with the device's usual half type; "float16" or "bfloat16": O2
        with that type.
        description: of the network; None: from the file's metadata, or from an options.yml beside it.
        batch_size: images per pass of the network. A tied FSRNet normalises by the batch: with 1 it restores each face
        as if it were alone.
        runtime: of an .onnx file: onnx (ONNX Runtime, the default) or openvino.

        Raises UserError for unknown names, missing or damaged files, weights that no description is known of or that
        do not fit it, weights that restore no faces, and devices that are not there.
        """
        path = find_weights(name)
        if path.suffix == SUFFIX:
            return cls._load_deployed(path, precision, description, batch_size, runtime or RUNTIMES[0])
        if runtime:
            raise UserError(f"{path}: runtime {runtime} computes {SUFFIX} files of newexport.py, not weights.")
        description = description or read_description(path)
        if description is None:
            raise UserError(f"{path}: nothing says which network these weights are of. Put the {OPTIONS_FILE} of their "
                            f"training beside them; newtest.py and newexport.py also take --preset NAME.")
        if not isinstance(device, torch.device):
            device = utils.device.pick_device(device)
            utils.device.set_up(device)
        level, half = find_precision(precision, device)
        recipe = build_recipe(description.options())
        recipe.check_restores()
        network = load_weights(recipe.networks["G"], path)
        network.to(device, memory_format=utils.device.memory_format(device)).eval()
        amp.prepare_inference(network, level, half)
        return cls(recipe, device, description, batch_size)

    @classmethod
    def _load_deployed(cls, path, precision, description, batch_size, runtime):
        found, device = read_metadata(path), torch.device("cpu")
        if find_precision(precision, device).opt_level != "O0":
            raise UserError(f"{path}: its precision was chosen when it was exported (newexport.py --precision). Leave "
                            f"out the precision (--opt_level).")
        if description:
            check_same_network(path, found, description)
        return cls(deployed_recipe(path, runtime), device, description or found, batch_size)

    @property
    def network(self) -> torch.nn.Module:
        """The network that restores."""
        return self.recipe.released("G")

    @property
    def parameters(self) -> int:
        """Number of the network's parameters."""
        network = self.network
        return network.parameter_count if isinstance(network, DeployedNetwork) else count_parameters(network)

    @property
    def task(self) -> str:
        """What is restored: the name of a dataset (data/__init__.py), e.g. celeba, blind, colorization, seg2face."""
        return self._described().task

    @property
    def other_task(self) -> str | None:
        """The task if the network does something else than restore degraded faces, else None."""
        return self._described().other_task()

    @property
    def input_size(self) -> int:
        """Side of the network's square input and output in pixels."""
        return self._described().input_size

    @property
    def scale_factor(self) -> int:
        """Factor by which faces of the training were smaller than input_size before they were enlarged."""
        return self._described().scale_factor

    def __call__(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Returns the restored faces, uint8 [input_size, input_size, 3], RGB, one per image and in their order.

        images: uint8 [height, width, 3], RGB, of any sizes; see `prepare`. Raises UserError, naming the image by its
        place in the list, for anything else. Warns of images of another size than the network was trained on.
        """
        inputs = self.prepare(images)
        note = self.size_note(Counter(min(image.shape[:2]) for image in images))
        if note:
            warnings.warn(note, stacklevel=2)
        return self.restore_inputs(inputs)

    def restore_inputs(self, inputs: np.ndarray) -> list[np.ndarray]:
        """Returns the restored faces, uint8 [S, S, 3], RGB, of what `prepare` gives."""
        restored: list[np.ndarray] = []
        for start in range(0, len(inputs), self.batch_size):
            faces, _ = self.restore_batch(torch.from_numpy(inputs[start:start + self.batch_size]))
            restored.extend(quantize(faces, "round"))
        return restored

    def prepare(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Returns the network's inputs, uint8 [N, input_size, input_size, 3], RGB, as newtest.py makes them of files.

        Each image's centred square is resized to input_size by PIL BICUBIC; if all faces of the training had the same
        size, to that first (utils/images.py: to_trained_side). Colorization takes the colour away.
        Seg2face also takes maps of class indices, uint8 [height, width], and resizes by the nearest pixel.
        """
        size = self.input_size
        if isinstance(images, np.ndarray) and images.ndim != 4:
            raise UserError(f"a list of images is needed, not one array {images.shape}: give [image] for one.")
        inputs = [self._prepare_one(image, f"image {place}") for place, image in enumerate(images)]
        return np.stack(inputs) if inputs else np.empty((0, size, size, 3), np.uint8)

    def _prepare_one(self, image: np.ndarray, name: str) -> np.ndarray:
        if not isinstance(image, np.ndarray):
            raise UserError(f"{name}: a uint8 array [height, width, 3] is needed, not a {type(image).__name__}.")
        if image.dtype != np.uint8:
            raise UserError(f"{name}: a uint8 array is needed, values 0 to 255; it is {image.dtype}.")
        if not image.size:
            raise UserError(f"{name}: it is empty, its shape is {image.shape}.")
        try:
            picture = to_trained_side(self._reader.from_array(image, name), self._described().trained_side(),
                                      self.input_size)
            return self._reader.to_input(picture, self.input_size)
        except BadImage as error:
            raise UserError(f"{error}.") from None

    def size_note(self, sides: Mapping[int, int]) -> str | None:
        """Returns a line on images whose size differs from that of the training, or None.

        sides: {shorter side of an image in pixels: number of such images}.
        """
        size, (smallest, largest) = self.input_size, self._described().trained_sides()
        if smallest < largest:
            larger, smaller = ({side: count for side, count in sides.items() if outside(side)}
                               for outside in (largest.__lt__, smallest.__gt__))
            notes = [f"{_named_sizes(larger)}: reduced to {size} pixels, the size of the network" if larger else "",
                     f"{_named_sizes(smaller)}: smaller than the faces of the training, of {smallest} pixels or more; "
                     f"restored badly" if smaller else ""]
            return f"{'; '.join(filter(None, notes))}." if any(notes) else None
        enlarged = sides.get(size, 0) if size > smallest else 0
        others = {side: count for side, count in sides.items() if side not in (smallest, size)}
        if not others and not enlarged:
            return None
        note = f"the network was trained on faces of {smallest} pixels, its result has {size}"
        if others:
            loss_note = ", larger ones lose detail" if max(others) > smallest else ""
            note += f"; {_named_sizes(others)}: resized to {smallest} pixels first{loss_note}"
        if enlarged:
            note += (f"; {_named_sizes({size: enlarged})}: taken as enlarged from {smallest} pixels; sharp ones are "
                     f"restored badly")
        return f"{note}."

    @torch.no_grad()
    def restore_batch(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Returns (restored faces, prior maps or None), both float32 on the CPU.

        inputs: uint8 [N, S, S, 3], RGB, what `prepare` gives. Faces: [N, 3, S, S], RGB about [-1, 1], not clipped.
        Maps: [N, C, S / 2, S / 2] about [-1, 1], of recipes that estimate them (models/base_model.py: prior_maps).
        """
        low = to_tensor_range(inputs.to(self.device, non_blocking=True))
        with self._one_batch:
            restored, priors = self.recipe.restore_with_priors(low)
        return restored.float().cpu(), None if priors is None else priors.float().cpu()

    def _described(self) -> Description:
        if self.description is None:
            raise ValueError("this Restorer was made without a description: it restores batches, not images.")
        return self.description


def _named_sizes(counts: Mapping[int, int]) -> str:
    """Returns '4 images (3 of 64 pixels, 1 of 80 pixels)'; counts: {pixels: images}."""
    most = sorted(counts, key=lambda side: (-counts[side], side))
    named = [f"{counts[side]} of {side} pixels" for side in most[:SIZES_NAMED]]
    more = f" and {len(most) - SIZES_NAMED} further sizes" if len(most) > SIZES_NAMED else ""
    return f"{sum(counts.values())} images ({', '.join(named)}{more})"


def find_weights(name: str | Path) -> Path:
    """Returns the path of weights: of those that ship under that name, else `name` itself.

    Raises UserError, with the nearest name, if there is neither.
    """
    text = os.fspath(name)
    if text in pretrained_names():
        return find_pretrained(text, f"{text!r}")
    if os.path.isfile(text):
        return Path(text)
    if os.sep in text or Path(text).suffix or isinstance(name, Path):
        what = "is a folder, not a weights file" if os.path.isdir(text) else "there is no such weights file"
        raise UserError(f"{text}: {what}.")
    raise UserError(f"{text!r}: there are no such weights, neither in pretrained/ ({', '.join(pretrained_names())}) "
                    f"nor as a file.{nearest(text, pretrained_names())}")


def find_precision(name: str | Precision | None, device: torch.device) -> Precision:
    """Returns the Precision that `name` means on `device`, see Restorer.load; UserError for an unknown name."""
    if isinstance(name, Precision):
        return name
    if name in HALVES:
        return Precision("O2", HALVES[name])
    level = "O0" if name in (None, "float32") else name
    if level not in OPT_LEVELS:
        known = (*OPT_LEVELS, "float32", *HALVES)
        raise UserError(f"precision {name!r}: it is one of {', '.join(known)}.{nearest(str(name), known)}")
    return Precision(level, utils.device.default_half(device))
