"""What is known of trained weights: the network that they fill, the input that it expects, where they come from.

A released .safetensors file carries its description in its metadata. Beside other weights an options.yml, which each
training writes, says the same of the network.
"""
from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import yaml
from safetensors import SafetensorError, safe_open

from data import find_degradation, prior_counts
from models import find_recipe
from utils.errors import UserError, first_line

OPTIONS_FILE = "options.yml"
ENLARGED = ("bicubic",)  # PIL BICUBIC, antialiased where it shrinks (utils/images.py: resize)
ALIGNMENTS = ("celeba", "ffhq")
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

    def metadata(self) -> dict[str, str]:
        """Returns the metadata of a .safetensors file with these weights; description_of_metadata reads it."""
        content = {"format": "pt", "model": self.model, "arguments": json.dumps(dict(self.arguments), sort_keys=True),
                   "input": json.dumps({"task": self.task, "degradation": self.degradation, "size": self.input_size,
                                        "scale_factor": self.scale_factor, "priors": self.priors,
                                        "enlarged": self.enlarged, "alignment": self.alignment})}
        return content | {name: value for name in ("commit", "data", "licence") if (value := getattr(self, name))}


def describe(options: Mapping[str, Any], source: str = "options") -> Description:
    """Returns the description that a run's or newtest.py's options {name: value} give; absent ones have defaults.

    source: where the options come from, for the messages. Raises UserError for values that no network can have.
    """
    model = str(options.get("model") or Description.model)
    size, scale = (options.get(name) or default for name, default in
                   (("load_size", Description.input_size), ("scale_factor", Description.scale_factor)))
    task, priors = options.get("dataset_name") or Description.task, options.get("priors")
    arguments = _network_arguments(model, options, task, priors, source)
    degradation = options.get("degradation")
    return _checked(Description(model, arguments, size, scale, task, priors, degradation=degradation), source)


def read_description(path: str | Path) -> Description | None:
    """Returns the description of the weights at `path`: from their metadata, else from an options.yml beside them.

    None if there is neither. Raises UserError for one that cannot be read, or for a network that does not exist.
    """
    described = read_metadata(path)
    beside = Path(path).parent / OPTIONS_FILE
    if described is None and beside.is_file():
        return describe(_read_yaml(beside), str(beside))
    return described


def read_metadata(path: str | Path) -> Description | None:
    """Returns the description in the metadata of the .safetensors file at `path`.

    None for other files, for absent ones, and for a .safetensors file without a description. Raises UserError for a
    description that cannot be used.
    """
    if Path(path).suffix != ".safetensors" or not Path(path).is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
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
                            f"{', '.join(unknown)}. Was it written by a newer version?")
        return _checked(Description(
            model, known, given["size"], given["scale_factor"], task, priors, given["enlarged"],
            given.get("alignment"), *(metadata.get(name) for name in ("commit", "data", "licence")),
            given.get("degradation")), source)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{source}: its metadata cannot be read as a description of weights: "
                        f"{first_line(error)}") from None


def _checked(described: Description, source: str) -> Description:
    find_degradation(described.task, described.degradation)
    for name, value, least in (("size", described.input_size, SMALLEST_INPUT),
                               ("scale_factor", described.scale_factor, 1)):
        if not isinstance(value, int) or value < least:
            raise UserError(f"{source}: {name} {value!r}: a whole number of {least} or more is needed.")
    for name, value, known in (("enlarged", described.enlarged, ENLARGED),
                               ("alignment", described.alignment, (None, *ALIGNMENTS))):
        if value not in known:
            raise UserError(f"{source}: {name} {value!r}: it is one of {', '.join(filter(None, known))}.")
    return described


def _network_arguments(model: str, values: Mapping[str, Any], task: str, priors: str | None,
                       source: str) -> dict[str, Any]:
    """Returns all network options of the recipe `model`, from `values` where these have them."""
    recipe = find_recipe(model)
    parser = _Parser(source)
    recipe.add_network_options(parser)
    words = []
    for action in parser._actions:
        flag, value = action.option_strings[0], values.get(action.dest)
        if action.nargs == 0 and value not in (None, True, False):
            raise UserError(f"{source}: {action.dest}: {value!r} is neither true nor false.")
        if value is not None and value is not False:
            words.append(flag if action.nargs == 0 else f"{flag}={value}")
    found = parser.parse_args(words)
    recipe.complete(found, prior_counts(argparse.Namespace(dataset_name=task, priors=priors)))
    return vars(found)


class _Parser(argparse.ArgumentParser):
    """argparse, for its checks of types and choices; errors name the source of the values."""

    def __init__(self, source: str) -> None:
        super().__init__(add_help=False, allow_abbrev=False)
        self.source = source

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{self.source}: {message}.")


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read as YAML: {first_line(error)}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: `option: value` lines are expected.")
    return content
