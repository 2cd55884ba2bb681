# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""What is known of trained weights: the network that they fill, the input that it expects, where they come from.

A released .safetensors file carries its description in its metadata. Beside other weights an options.yml, which each
training writes, says the same of the network.
"""
from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

from safetensors import SafetensorError, safe_open

from data import find_degradation, prior_counts, trained_side
from models import find_recipe_options
from utils import onnx_file
from utils.errors import UserError, first_line, shown
from utils.files import check_regular_file
from utils.option_file import read_option_file
from utils.option_types import SIZE, Parser, at_least, boolean

OPTIONS_FILE = "options.yml"
ENLARGED = ("bicubic",)  # PIL BICUBIC, antialiased where it shrinks (utils/images.py: resize)
ALIGNMENTS = ("celeba", "ffhq")
OTHER_TASKS = ("seg2face", "colorization", "inpainting", "grey", "holes")  # datasets and degradations
SMALLEST_INPUT = 16  # pixels, as for --load_size


@dataclass(frozen=True)
class Description:
    """Describes trained weights.

    model         recipe, a name in models/__init__.py
    arguments     {option: value}: all network options of the recipe
    input_size    side of the network's square input, in pixels
    scale_factor  factor by which the faces of the training were smaller before they were enlarged to input_size
    task          what is restored: the name of the dataset that makes such inputs (data/__init__.py)
    degradation   how that dataset degrades faces, as --degradation names it; None: the dataset's default
    priors        facial priors of that dataset, as --priors names them; None: the dataset's default
    enlarged      how smaller inputs are enlarged to input_size, one of ENLARGED
    alignment     how faces are aligned, one of ALIGNMENTS; None: not known
    commit        commit of the training code; data: what was trained on; licence: of the weights; None: not known
    """

    model: str = "sparnet"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    input_size: int = 128
    scale_factor: int = 8
    task: str = "celeba"
    priors: str | None = None
    enlarged: str = "bicubic"
    alignment: str | None = None
    commit: str | None = None
    data: str | None = None
    licence: str | None = None
    degradation: str | None = None

    def options(self) -> argparse.Namespace:
        """Returns the options that describe the network, under newtest.py's names: what build_recipe takes."""
        return argparse.Namespace(model=self.model, load_size=self.input_size, scale_factor=self.scale_factor,
                                  dataset_name=self.task, degradation=self.degradation, priors=self.priors,
                                  **self.arguments)

    def trained_sides(self) -> tuple[int, int]:
        """Returns the (smallest, largest) side in pixels of the training's inputs, before they were enlarged."""
        only = self.trained_side()
        if only is not None:
            return only, only
        degradation = find_degradation(self.task, self.degradation)
        return (degradation.smallest_input if degradation else 0), self.input_size

    def trained_side(self) -> int | None:
        """Returns the side in pixels of the training's inputs before they were enlarged; None if it had several."""
        return trained_side(self.task, self.degradation, self.input_size, self.scale_factor)

    def other_task(self) -> str | None:
        """Returns the task or degradation if the network does something else than restore degraded faces, else None."""
        return next((name for name in (self.task, self.degradation) if name in OTHER_TASKS), None)

    def metadata(self) -> dict[str, str]:
        """Returns the metadata of a .safetensors file with these weights; description_of_metadata reads it."""
        content = {"format": "pt", "model": self.model, "arguments": json.dumps(dict(self.arguments), sort_keys=True),
                   "input": json.dumps({"task": self.task, "degradation": self.degradation, "size": self.input_size,
                                        "scale_factor": self.scale_factor, "priors": self.priors,
                                        "enlarged": self.enlarged, "alignment": self.alignment})}
        return content | {name: value for name in ("commit", "data", "licence") if (value := getattr(self, name))}


def describe(options: Mapping[str, Any], source: str = "options") -> Description:
    """Returns the description that a run's or newtest.py's options {name: value} give; absent ones have defaults.

    A value may be the text of a file (utils/option_file.py). source: where the options come from, for the messages.
    Raises UserError for values that no network can have.
    """
    for name in ("model", "dataset_name", "degradation", "priors"):
        if not isinstance(options.get(name) or "", str):
            raise UserError(f"{source}: {name}: one value is expected, not {shown(options[name])}.")
    model = options.get("model") or Description.model
    task, degradation, priors = options.get("dataset_name") or Description.task, options.get("degradation"), \
        options.get("priors")
    arguments = _network_arguments(model, options, task, priors, source)
    described = Description(model, arguments, options.get("load_size") or Description.input_size,
                            options.get("scale_factor") or Description.scale_factor, task, priors,
                            degradation=degradation)
    return _checked(described, source)


def read_description(path: str | Path) -> Description | None:
    """Returns the description of the weights at `path`: from their metadata, else from an options.yml beside them.

    None if there is neither. Raises UserError for one that cannot be read, or for a network that does not exist.
    """
    described = read_metadata(path)
    beside = Path(path).parent / OPTIONS_FILE
    if described is None and os.path.isfile(beside):
        return describe(read_option_file(beside), str(beside))
    return described


def read_metadata(path: str | Path) -> Description | None:
    """Returns the description in the metadata of the .safetensors or .onnx file at `path`.

    None for other files, for absent ones, and for a .safetensors file without a description. Raises UserError for a
    description that cannot be used, and for an .onnx file without one: nothing else can describe it.
    """
    if Path(path).suffix == onnx_file.SUFFIX and os.path.exists(path):
        metadata = onnx_file.read_metadata(path)
        if "model" not in metadata:
            raise UserError(f"{path}: it is no file of newexport.py: its metadata does not describe a restoring "
                            f"network.")
        return description_of_metadata(metadata, str(path))
    if Path(path).suffix != ".safetensors" or not os.path.exists(path):
        return None
    check_regular_file(path)
    try:
        with safe_open(path, framework="np") as file:  # "pt" would import torch, for which --help need not wait
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: cannot be read as .safetensors: {first_line(error)}") from None
    return description_of_metadata(metadata, str(path)) if "model" in metadata else None


def description_of_metadata(metadata: Mapping[str, str], source: str) -> Description:
    """Returns the description in the metadata of a .safetensors file; UserError if it cannot be used."""
    try:
        arguments, given = (json.loads(metadata[name]) for name in ("arguments", "input"))
        model, task, priors = metadata["model"], given["task"], given.get("priors")
        known = _network_arguments(model, arguments, task, priors, source)
        unknown = sorted(set(arguments) - set(known))
        if unknown:
            raise UserError(f"{source}: its metadata holds arguments that --model {model} does not have here: "
                            f"{shown(', '.join(unknown))}. Was it written by a newer version?")
        return _checked(Description(
            model, known, given["size"], given["scale_factor"], task, priors, given["enlarged"],
            given.get("alignment"), *(metadata.get(name) for name in ("commit", "data", "licence")),
            given.get("degradation")), source)
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise UserError(f"{source}: its metadata cannot be read as a description of weights: "
                        f"{first_line(error)}") from None


def _checked(described: Description, source: str) -> Description:
    find_degradation(described.task, described.degradation)
    whole = {name: _whole(value, f"{source}: {name.removeprefix('input_')}", least) for name, value, least in (
        ("input_size", described.input_size, SMALLEST_INPUT), ("scale_factor", described.scale_factor, 1))}
    for name, value, known in (("enlarged", described.enlarged, ENLARGED),
                               ("alignment", described.alignment, (None, *ALIGNMENTS))):
        if value not in known:
            raise UserError(f"{source}: {name} {shown(value)!r}: it is one of {', '.join(filter(None, known))}.")
    return replace(described, **whole)


def _whole(value: Any, name: str, least: int) -> int:
    try:
        return at_least(least, largest=SIZE)(str(value))
    except (ValueError, argparse.ArgumentTypeError):
        raise UserError(f"{name} {shown(value)}: a whole number from {least} to {SIZE} is needed.") from None


def _network_arguments(model: str, values: Mapping[str, Any], task: str, priors: str | None,
                       source: str) -> dict[str, Any]:
    """Returns all network options of the recipe `model`, from `values` where these have them."""
    recipe = find_recipe_options(model)
    parser = _Parser(source)
    recipe.add_network_options(parser)
    words = []
    for action in parser._actions:
        flag, value = action.option_strings[0], values.get(action.dest)
        if value is None:
            continue
        try:
            words += [f"{flag}={value}"] if action.nargs != 0 else [flag] * boolean(str(value))
        except argparse.ArgumentTypeError as error:
            raise UserError(f"{source}: {action.dest}: {error}.") from None
    found = parser.parse_args(words)
    recipe.complete(found, prior_counts(argparse.Namespace(dataset_name=task, priors=priors)))
    return vars(found)


class _Parser(Parser):
    """The parser of options, for its checks of types and choices; errors name the source of the values."""

    def __init__(self, source: str) -> None:
        super().__init__(add_help=False)
        self.source = source

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{self.source}: {shown(message, 600)}.")
