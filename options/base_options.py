# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Shared by newtrain.py and newtest.py: parser, common options, option files, and errors for unread options."""
import argparse
import re

from data import DATA_TIMEOUT, DEGRADATIONS, find_dataset, find_degradation
from options.presets import find_preset, is_own, preset_names, read_options, read_preset
from options.suggestions import suggest
from utils.background import usable_cores
from utils.environment import number
from utils.errors import UserError, shown
from utils.option_types import SECONDS, SIZE, Parser, at_least, boolean

FLOAT32_ONLY = "--opt_level is O0, which computes in float32"  # why half precision's options are not read


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Formats help in two columns; shows an option's type as its metavar and omits defaults of None and False.

    The help text of an option with such a default states the default behaviour itself.
    """

    def __init__(self, prog):
        super().__init__(prog, max_help_position=36, width=110)

    def _get_default_metavar_for_optional(self, action):
        return getattr(action.type, "__name__", "text").upper()

    def _get_help_string(self, action):
        says = action.default is not None and action.default is not False and "default: " not in action.help
        return super()._get_help_string(action) if says else action.help


def new_parser(program, description):
    return Parser(usage=f"python {program} [options]", description=description, formatter_class=HelpFormatter)


def add_model(parser):
    """Adds the options that name the recipe and its preset. Returns their argument group."""
    run = parser.add_argument_group("what is run, and where")
    run.add_argument("--model", default="sparnet",
                     help="recipe to train or to restore with: sparnet, sparnethd, fsrnet or gpen; it brings its own "
                          "defaults of other options; default: sparnet, or the recipe of --preset")
    run.add_argument("--preset", default=None,
                     help="named set of options, or the path of a .yml file of `option: value` lines, of which `like: "
                          "NAME` takes another preset's; options on the command line override it; default: none; there "
                          "are " + ", ".join(preset_names()))
    return run


def add_common(parser):
    """Adds the options that newtrain.py and newtest.py share. Returns the argument groups (run, data)."""
    run = add_model(parser)
    run.add_argument("--name", default=None,
                     help="name of the run, and of its folder below the output folder; default: newtrain.py: the "
                          "preset's name, newtest.py: the name of the weights or of their folder")
    add_device(run)
    run.add_argument("--opt_level", choices=["auto", "O0", "O1", "O2"], default=None,
                     help="mixed precision as apex names it: O0 float32, O1 selected operators in half, O2 weights in "
                          "half; auto: O2 on npu, cuda and CPUs with bfloat16 instructions, else O0; a CPU without "
                          "them takes O1 and O2 with --amp_dtype only; default: newtrain.py: O2 on npu and cuda, O0 on "
                          "cpu; newtest.py: O0")
    run.add_argument("--amp_dtype", choices=["float16", "bfloat16"], default=None,
                     help="half-precision type of --opt_level O1 and O2; default: float16 on npu and cuda, bfloat16 on "
                          "cpu")
    data = add_inputs(parser)
    data.add_argument("--workers", "--num_threads", type=at_least(0, largest=1024), default=default_workers(),
                      help="processes per device that prepare batches; 0: the main process does; default: one per "
                           "core, at most 4")
    data.add_argument("--data_timeout", type=at_least(1.0, float, 1e6), default=DATA_TIMEOUT,
                      help="seconds to wait for a batch of faces before the program ends with an error")
    data.add_argument("--min_size", type=at_least(0, largest=100_000), default=0,
                      help="shorter side in pixels from which on an image is used; smaller ones count as bad; 0: small "
                           "ones are enlarged")
    data.add_argument("--on_bad_image", choices=["replace", "stop"], default="replace",
                      help="what to do with a damaged or too small image: replace it by its neighbour and report it, "
                           "or stop the run at the first")
    return run, data


def add_device(group):
    """Adds the options that utils/distributed.py: join_ranks reads."""
    group.add_argument("--device", default="auto",
                       help="device to compute on: auto, npu, cuda or cpu; auto takes the first of these that is "
                            "available")
    group.add_argument("--device_id", type=at_least(0, largest=1023), default=None,
                       help="number of the NPU or GPU to compute on; default: ASCEND_DEVICE_ID on an NPU, else 0")
    group.add_argument("--dist_timeout", type=at_least(1.0, float, SECONDS), default=600.0,
                       help="seconds to wait for the other ranks of a torchrun, at the start and at every exchange; "
                            "default: %(default)g")


def add_inputs(parser):
    """Adds the options that describe the network's inputs. Returns their argument group."""
    data = parser.add_argument_group("data")
    data.add_argument("--load_size", type=at_least(16, largest=SIZE), default=128,
                      help="side of the network's square input and output in pixels")
    data.add_argument("--priors", choices=["heatmaps", "parsing", "both"], default=None,
                      help="facial priors that are read with the faces of --dataset_name builtin, celebamask, helen or "
                           "landmarks68: landmark heatmaps, parsing maps or both; default: all that the dataset has, "
                           "for builtin parsing")
    data.add_argument("--degradation", choices=DEGRADATIONS, default=None,
                      help="how the network's input is made of a good face: bicubic (small and enlarged again), "
                           "sparnethd, gpen, gpen_hard, face128, face256 (chains of blur, noise and JPEG), grey, or "
                           "holes; "
                           "default: what --dataset_name stands for: ffhq sparnethd, blind gpen, blind_hard gpen_hard, "
                           "face128 itself, colorization grey, inpainting holes, others bicubic")
    data.add_argument("--scale_factor", type=at_least(1, largest=SIZE), default=8,
                      help="ratio of --load_size to the side of the small face, for --degradation bicubic")
    return data


def default_workers():
    """Returns the number of usable cores per local rank, between 1 and 4."""
    return max(1, min(4, usable_cores() // number("LOCAL_WORLD_SIZE", 1, least=1)))


def parse(parser, argv, beside=None, only=None, elsewhere=()):
    """Returns the options: those `beside` the weights ({option: Value}), overridden by --preset's, then by argv's.

    only: names to read from files, others are skipped; None: read all, and an unknown name is an error.
    elsewhere: flags that only newtrain.py has.
    Raises UserError for unknown flags and keys; the message suggests the nearest name.
    """
    values, preset = dict(beside or {}), peek(argv, "preset")
    if preset:
        values |= read_preset(find_preset(preset))
    options = parse_words(parser, file_words(parser, values, only) + argv, elsewhere)
    check_degradation(options, written_in(parser, argv))
    return options


def parse_words(parser, words, elsewhere=()):
    """Returns the options in `words`; UserError, with the nearest name, for an unknown one. elsewhere: see `parse`."""
    options, unknown = parser.parse_known_args(words)
    if unknown:
        flag = unknown[0].split("=")[0]
        if not flag.startswith("-"):
            raise UserError(f"unexpected argument {shown(unknown[0])}: it belongs to no option. Leave it out, or quote "
                            f"names with spaces.")
        if flag in elsewhere:
            raise UserError(f"unknown option {flag}: newtrain.py reads it in a training, newtest.py does not. Leave it "
                            f"out.")
        raise UserError(f"unknown option {shown(flag)}." + suggest(flag, list(parser._option_string_actions)))
    return options


def check_degradation(options, written):
    """Raises UserError if --dataset_name and --degradation do not fit.

    --dataset_name on the command line overrides a file's degradation if the dataset's name implies one (blind) or the
    dataset allows none. written: names of the options on the command line.
    """
    if "dataset_name" in written and "degradation" not in written:
        dataset = find_dataset(options.dataset_name)
        if dataset.names_degradation or not dataset.degradable:
            options.degradation = None
    find_degradation(options.dataset_name, options.degradation)


def set_recipe_defaults(parser, recipe, only=None):
    """Makes the values of the recipe's own preset (all, or the keys in `only`) the defaults, also in --help."""
    if recipe.preset:
        words = file_words(parser, read_preset(find_preset(recipe.preset)), only)
        parser.set_defaults(**vars(parser.parse_args(words)))


def written_in(parser, argv):
    """Returns {option name: flag as written in argv}."""
    flags = [word.split("=")[0] for word in argv]
    return {parser._option_string_actions[flag].dest: flag for flag in flags if flag in parser._option_string_actions}


def refuse_unread(parser, argv, options, unread, unread_here=None):
    """Raises UserError if the user set an option that nothing reads, on the command line or in their --preset file.

    unread: {option name: reason}. The project's presets, and presets inherited by `like`, may set unread options.
    A user's file may list unread options at their default values, as a run's options.yml does.
    unread_here: likewise, of options that a file may set for other calls: they are refused on the command line only.
    """
    written = written_in(parser, argv)
    for name, why in (unread | (unread_here or {})).items():
        if name in written:
            raise UserError(f"{written[name]} is not read here: {why}. Leave out {written[name]}, or change that.")
    path = find_preset(options.preset) if options.preset else None
    for key in read_options(path) if path and is_own(path) else ():
        action = parser._option_string_actions.get(f"--{key}")
        if action and action.dest in unread and getattr(options, action.dest) != parser.get_default(action.dest):
            raise UserError(f"{path}: {key} is not read here: {unread[action.dest]}. Remove that line, or change that.")


def peek(argv, *names, default=None):
    """Returns the value of --<one of names> in argv; needed before the full parser can be built."""
    looker = Parser(add_help=False)
    looker.add_argument(*(f"--{name}" for name in names), dest="value", default=default)
    return looker.parse_known_args(argv)[0].value


def peek_model(argv, beside=None):
    """Returns the recipe named by argv, its preset, or the options `beside` the weights; sparnet if none names one.

    Raises UserError if argv and its preset name different recipes.
    """
    preset, model = peek(argv, "preset"), peek(argv, "model")
    meant = read_preset(find_preset(preset)).get("model") if preset else None
    if model and meant and meant.value and model != meant.value:
        raise UserError(f"--model {model} and --preset {preset}, which is for {meant.value}, contradict each other: "
                        f"give one of them.")
    named = [model, *(found.value for found in (meant, (beside or {}).get("model")) if found)]
    return next(filter(None, named), "sparnet")


def file_words(parser, values, only=None):
    """Converts {option: Value} of files to command-line words, so that argparse checks types and choices.

    only: names to read, others are skipped; None: read all, and an unknown name is an error. UserErrors name file and
    option.
    """
    actions = {flag.removeprefix("--"): action for flag, action in parser._option_string_actions.items()
               if flag.startswith("--") and action.dest != "help"}
    words = []
    for key, (value, path) in values.items():
        if only is not None and key not in only:
            continue
        if key not in actions:
            raise UserError(f"{path}: unknown option {shown(key)!r}."
                            + suggest(f"--{key}", list(parser._option_string_actions)).replace("--", ""))
        if value is None:
            continue
        try:
            of_key = words_of(key, value, actions[key])
            parser.parse_args(of_key)
        except (UserError, argparse.ArgumentTypeError) as error:
            raise UserError(f"{path}: {key}: " + re.sub("^argument [^:]+: ", "", str(error))) from None
        words += of_key
    return words


def words_of(key, value, action):
    """Returns the command-line words for a file's value (text or list of texts) of the option `key`."""
    if isinstance(value, list):
        if action.nargs != "+":
            raise UserError("one value is expected, not a list.")
        if any(item.startswith("--") for item in value):
            raise UserError("a value must not begin with --.")
        return [f"--{key}", *value]
    if action.nargs == 0:  # a bare flag
        return [f"--{key}"] if boolean(value) else []
    return [f"--{key}={value}"]
