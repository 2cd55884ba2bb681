# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Options of the programs that use trained weights, newtest.py and newexport.py: which weights, of which network."""
import argparse
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from data import prior_counts
from models import find_recipe_options
from options.base_options import parse, peek, peek_model, set_recipe_defaults
from options.presets import Value, read_options
from restore.choice import AUTO, choose_for_folder
from restore.description import OPTIONS_FILE, Description, read_metadata
from utils.errors import UserError
from utils.option_types import Parser
from utils.pretrained import find_pretrained, pretrained_names

# Options that define the network and its inputs; read from the run's options.yml.
SHAPE_OPTIONS = {"model", "load_size", "scale_factor", "dataset_name", "degradation", "priors"}


class Source(NamedTuple):
    """The weights that the command line names, and what is known of them.

    weights    path, or None
    pretrained name of weights that ship with the project, or None
    described  the description in the file's metadata, or None
    beside     {option: Value} of the options.yml beside the file; empty if there is none or if it is not needed
    model      recipe
    note       line that says why --pretrained auto chose these, or None
    """
    weights: str | None
    pretrained: str | None
    described: Description | None
    beside: Mapping[str, Value]
    model: str
    note: str | None = None


def add_weights(group: argparse._ArgumentGroup) -> None:
    """Adds the options that name the weights, and the task of their network."""
    group.add_argument("--pretrain_model_path", "--pth_path", default=None,
                       help="weights file of the generator; for newtest.py also an .onnx file of newexport.py; its "
                            "metadata (.safetensors, .onnx) or an options.yml in its folder says how the network is "
                            "built; default: none, --pretrained is then needed")
    group.add_argument("--pretrained", default=None,
                       help="weights that ship with the project, in place of --pth_path: "
                            + ", ".join(pretrained_names()) + f"; or, for newtest.py, {AUTO}: those that were trained "
                            "on sizes like most of those in --dataroot, one set for all; default: none")
    group.add_argument("--dataset_name", default="celeba",
                       help="which faces are found below --gtroot, which square of an image is the face, and which "
                            "priors belong to it: celeba, ffhq, celebamask, helen, landmarks68, builtin, seg2face, or "
                            "names of these with a --degradation: blind, blind_hard, colorization, inpainting, "
                            "face128")


def add_network(parser: Parser, model: str) -> set[str]:
    """Adds the network options of the recipe. Returns the names of the options that are read from files."""
    recipe = parser.add_argument_group(f"network of recipe {model}")
    find_recipe_options(model).add_network_options(recipe)
    shape = {action.dest for action in recipe._group_actions} | SHAPE_OPTIONS
    set_recipe_defaults(parser, find_recipe_options(model), shape)
    return shape


def find_source(argv: list[str], may_choose: bool = False) -> Source:
    """Returns the weights that argv names. Raises UserError for names that do not exist or contradict each other.

    may_choose: whether --pretrained auto is meant.
    """
    weights = peek(argv, "pretrain_model_path", "pth_path")
    pretrained = peek(argv, "pretrained")
    if pretrained and weights:
        raise UserError("--pretrained and --pth_path contradict each other: give one of them.")
    note = None
    if pretrained == AUTO and may_choose:
        pretrained, note = _choose(argv)
    if pretrained:
        weights = os.path.relpath(find_pretrained(pretrained))
    path = Path(weights or "").parent / OPTIONS_FILE
    described = read_metadata(weights) if weights else None
    beside = read_options(path) if weights and not described and os.path.isfile(path) else {}
    asked = any(peek(argv, option) for option in ("model", "preset"))
    model = described.model if described and not asked else peek_model(argv, beside)
    return Source(weights, pretrained, described, beside, model, note)


def _choose(argv):
    """Returns what choose_for_folder returns for --dataroot; UserError without one."""
    folder = peek(argv, "dataroot", "data_path", "data_url")
    if not folder:
        raise UserError(f"--pretrained {AUTO} chooses by the size of the images to restore: give newtest.py --dataroot "
                        f"FOLDER, or a name: {', '.join(pretrained_names())}.")
    results = peek(argv, "results_dir", "save_as_dir", "output_path", default="results")
    return choose_for_folder(folder, "--dataroot", leave_out=(Path(results),))


def parse_described(parser: Parser, argv: list[str], source: Source, shape: set[str],
                    elsewhere: Collection[str] = ()) -> argparse.Namespace:
    """Returns the options of `parser`, with the network that the source describes, and with `name` set.

    shape: what add_network returned. elsewhere: flags that only newtrain.py has.
    """
    if source.described:
        known = vars(source.described.options())
        parser.set_defaults(**{name: value for name, value in known.items() if name in shape})
    options = parse(parser, argv, source.beside, only=shape, elsewhere=elsewhere)
    if not source.weights:
        raise UserError("which weights? Give --pth_path FILE or --pretrained NAME.")
    options.pretrain_model_path, options.pretrained_note = str(source.weights), source.note
    find_recipe_options(options.model).complete(options, prior_counts(options))
    if options.name is None:
        beside = Path(source.weights).parent / OPTIONS_FILE
        options.name = source.pretrained or (beside.resolve().parent.name if os.path.isfile(beside)
                                             else Path(source.weights).stem)
    return options
