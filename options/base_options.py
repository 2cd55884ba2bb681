"""What newtrain.py and newtest.py share: the parser, presets, and errors that name the nearest option."""
import argparse
import os
import re

from options.presets import find_preset, preset_names, read_preset
from utils.errors import UserError, nearest
from utils.option_types import at_least


class Parser(argparse.ArgumentParser):
    """argparse whose errors are UserErrors, one line each."""

    def error(self, message):
        raise UserError(f"{message}  (see --help)")


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Two columns, an option's type in place of its own name in capitals, and only defaults that say something."""

    def __init__(self, prog):
        super().__init__(prog, max_help_position=36, width=110)

    def _get_default_metavar_for_optional(self, action):
        return getattr(action.type, "__name__", "text").upper()

    def _get_help_string(self, action):
        return action.help if action.default in (None, False) else super()._get_help_string(action)


def new_parser(program, description):
    return Parser(usage=f"python {program} [options]", description=description, allow_abbrev=False,
                  formatter_class=HelpFormatter)


def add_common(parser):
    """Options of every program: which recipe, on what. Returns the groups of the run's and the data's options."""
    run = parser.add_argument_group("what is run, and where")
    run.add_argument("--model", default="sparnet",
                     help="the recipe, a name in models/__init__.py, which brings its defaults")
    run.add_argument("--preset", default=None, help="a named recipe: " + ", ".join(preset_names())
                     + ", or a path to a .yml; options on the command line win over it")
    run.add_argument("--name", default=None,
                     help="of this run; its files go into a folder so named; unset: the preset's name, of newtest.py "
                          "that of the weights")
    run.add_argument("--device", default="auto", help="auto, npu, cuda or cpu; auto takes the first that is there")
    run.add_argument("--device_id", type=at_least(0), default=None,
                     help="which card; unset: ASCEND_DEVICE_ID on an NPU, else 0")
    run.add_argument("--opt_level", choices=["O0", "O1", "O2"], default=None,
                     help="mixed precision as apex names it; unset: O2 on npu and cuda, O0 on cpu")
    run.add_argument("--amp_dtype", choices=["float16", "bfloat16"], default=None,
                     help="the half type of O1 and O2; unset: float16 on npu and cuda, bfloat16 on cpu")
    run.add_argument("--dist_timeout", type=at_least(1.0, float), default=600.0,
                     help="seconds to wait for the other ranks of a torchrun, at the start and at every exchange")
    data = parser.add_argument_group("data")
    data.add_argument("--load_size", type=at_least(16), default=128, help="pixels of the network's square input")
    data.add_argument("--priors", choices=["heatmaps", "parsing", "both"], default=None,
                      help="which facial priors --dataset_name builtin, celebamask, helen or landmarks68 gives; unset: "
                           "those it has (builtin: parsing)")
    data.add_argument("--scale_factor", type=at_least(1), default=8,
                      help="how many times smaller the LR face is; --dataset_name ffhq, blind, blind_hard, "
                           "colorization, inpainting and seg2face make no small faces and do not read it")
    data.add_argument("--workers", "--num_threads", type=at_least(0), default=default_workers(),
                      help="processes that prepare batches; 0: none beside the main one")
    data.add_argument("--min_size", type=at_least(0), default=0,
                      help="a picture whose shorter side is smaller counts as bad; 0: small ones are enlarged")
    data.add_argument("--on_bad_image", choices=["replace", "stop"], default="replace",
                      help="a damaged file: replaced by its neighbour and reported, or the run stops at the first")
    return run, data


def default_workers():
    """Up to 4, and no more than this process's share of the cores where torchrun started several."""
    return max(1, min(4, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", 1))))


def parse(parser, argv, beside=None, only=None):
    """The options: those `beside` the weights ({option: Value}) first, then --preset's, then the command line's.

    only: the names to take from files; None: all, each of which must be an option. Raises UserError for unknown flags
    and keys, offering the nearest name.
    """
    values, preset = dict(beside or {}), peek(argv, "preset")
    if preset:
        values |= read_preset(find_preset(preset))
    options, unknown = parser.parse_known_args(file_words(parser, values, only) + argv)
    if unknown:
        flags = [flag for action in parser._actions for flag in action.option_strings]
        raise UserError(f"unknown option {unknown[0]}." + nearest(unknown[0].split("=")[0], flags))
    return options


def set_recipe_defaults(parser, recipe, only=None):
    """Let what the recipe's own preset says (all keys, or `only` some) be the parser's defaults, in --help as well."""
    if recipe.preset:
        words = file_words(parser, read_preset(find_preset(recipe.preset)), only)
        parser.set_defaults(**vars(parser.parse_args(words)))


def peek(argv, *names, default=None):
    """The value of --<one of names> in argv, before the parser that knows all options can be built."""
    looker = Parser(add_help=False, allow_abbrev=False)
    looker.add_argument(*(f"--{name}" for name in names), dest="value", default=default)
    return looker.parse_known_args(argv)[0].value


def peek_model(argv, beside=None):
    """The recipe that argv, its preset, or the options `beside` the weights name; sparnet where none does.

    UserError where argv and its preset name two.
    """
    preset, model = peek(argv, "preset"), peek(argv, "model")
    meant = read_preset(find_preset(preset)).get("model") if preset else None
    if model and meant and model != meant.value:
        raise UserError(f"--model {model} and --preset {preset}, which is for {meant.value}, contradict each other: "
                        f"give one of them.")
    named = [model, *(found.value for found in (meant, (beside or {}).get("model")) if found)]
    return str(next(filter(None, named), "sparnet"))


def file_words(parser, values, only=None):
    """{option: Value} of files as command-line words, so that argparse checks types and choices.

    only: the names to take; None: all of them, each of which must be an option. UserErrors name file and option.
    """
    actions = {flag.lstrip("-"): a for a in parser._actions for flag in a.option_strings if flag.startswith("--")}
    words = []
    for key, (value, path) in values.items():
        if only is not None and key not in only:
            continue
        if key not in actions:
            raise UserError(f"{path}: unknown option {key!r}." + nearest(str(key), actions))
        if value is None:
            continue
        if actions[key].nargs == 0:  # a bare flag
            if not isinstance(value, bool):
                raise UserError(f"{path}: {key}: {value!r} is neither true nor false.")
            of_key = [f"--{key}"] if value else []
        elif isinstance(value, list) and actions[key].nargs == "+":
            of_key = [f"--{key}", *map(str, value)]
        else:
            of_key = [f"--{key}={value}"]
        try:
            parser.parse_args(of_key)
        except UserError as error:
            raise UserError(f"{path}: {key}: " + re.sub("^argument [^:]+: ", "", str(error))) from None
        words += of_key
    return words
