# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""argparse types of command-line options, and the parser that uses them. Values of option files pass through both."""
import argparse
import os
import re
import sys
from pathlib import Path

from utils.errors import UserError, nearest, shown

# Upper bounds that several options share. They lie far above any use, and below what a later computation can hold.
COUNT = 10 ** 12  # whole numbers; some users write a huge one for "never"
SIZE = 4096  # pixels; the largest released network takes 2048
BATCH = 65_536  # faces
WIDTH = 4096  # channels of a layer
BLOCKS = 256  # blocks of a network
REAL = 1e9  # other numbers, e.g. the weight of a loss
RATE = 1e38  # learning rate: the largest power of ten that float32 holds
SECONDS = 1e8  # three years
LONGEST_NAME = 200  # bytes, of --name: disks accept 255, and what is written gets endings
LONGEST = 4096  # characters of a text: Linux accepts no longer path

NUMBERS = {int: re.compile(r"[+-]?[0-9]{1,100}"),
           float: re.compile(r"[+-]?([0-9]{1,100}\.?[0-9]{0,100}|\.[0-9]{1,100})([eE][+-]?[0-9]{1,5})?")}


class Parser(argparse.ArgumentParser):
    """ArgumentParser that raises UserError, one line per error. Options without a type are converted by `text`."""

    def __init__(self, *args, allow_abbrev=False, **options):
        super().__init__(*args, allow_abbrev=allow_abbrev, **options)
        self.register("type", None, text)  # groups share this registry

    def error(self, message):
        raise UserError(f"{shown(message, 600)}  (see --help)")

    def parse_known_args(self, args=None, namespace=None):
        args = sys.argv[1:] if args is None else list(args)
        for word in args:  # argparse would drop `--` and then fail on the missing value
            if word == "--" or (word.startswith("--") and word.partition("=")[2] == "--"):
                self.error(f"{word!r}: -- is not a value of an option")
        return super().parse_known_args(args, namespace)


def tool_parser(description):
    """Returns the parser of a tool or benchmark; description: its module's docstring, printed as it is laid out."""
    module = getattr(sys.modules["__main__"], "__spec__", None)  # None: started by its file's name
    program = f"python -m {module.name.removesuffix('.__main__')}" if module else None
    return Parser(prog=program, description=description, formatter_class=argparse.RawDescriptionHelpFormatter)


def text(value):
    """Returns `value`. Refuses empty text, and text that cannot name a file or would forge lines of a log."""
    if not value.strip():
        raise argparse.ArgumentTypeError("the value is empty; leave the option out for its default")
    if len(value) > LONGEST:
        raise argparse.ArgumentTypeError(f"'{shown(value)}': {len(value)} characters; at most {LONGEST} are accepted")
    # Python reads bytes that are not UTF-8 as U+DC80 to U+DCFF: those may be part of a path.
    bad = next((c for c in value if ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u2028\u2029"
                or "\ud800" <= c <= "\udfff" and not "\udc80" <= c <= "\udcff"), None)
    if bad is not None:
        raise argparse.ArgumentTypeError(f"'{shown(value)}' contains the control character U+{ord(bad):04X}")
    return value


def file_path(value):
    """Returns the Path that `value` names."""
    return Path(text(value))


file_path.__name__ = "path"  # in --help


def boolean(value):
    """Returns True for 1, true, yes, on and False for 0, false, no, off (any case)."""
    if value.lower() in ("1", "true", "yes", "on"):
        return True
    if value.lower() in ("0", "false", "no", "off"):
        return False
    raise argparse.ArgumentTypeError(f"'{shown(value)}' is neither true nor false")


def at_least(smallest, kind=int, largest=None):
    """Returns an argparse type: a number of type `kind` from `smallest` to `largest`; default: COUNT or REAL.

    Only plain decimal numbers are accepted: Python would also read 1_000 as 1000.
    """
    if largest is None:
        largest = COUNT if kind is int else REAL

    def convert(value):
        if not NUMBERS[kind].fullmatch(value):
            raise ValueError(value)
        number = kind(value)
        if number < smallest:
            raise argparse.ArgumentTypeError(f"{shown(value)} is below {smallest}")
        if not number <= largest:
            raise argparse.ArgumentTypeError(f"{shown(value)} is above {largest:.15g}")
        return number
    convert.__name__ = kind.__name__
    convert.bounds = smallest, largest
    return convert


def list_of(kind):
    """Returns an argparse type: a comma-separated list, each part converted by `kind`; repeated parts count once."""
    def convert(value):
        return list(dict.fromkeys(kind(part) for part in text(value).split(",")))
    convert.__name__ = "list"
    return convert


def below_one(value):
    """Returns a number in [0, 1), e.g. the decay of a moving average."""
    number = at_least(0, float)(value)
    if not number < 1:
        raise argparse.ArgumentTypeError(f"{shown(value)} is not below 1")
    return number


below_one.__name__ = "float"  # in --help


def loss_scale(value):
    """Returns a positive number that leaves room in float32, or 'dynamic'."""
    return value if value == "dynamic" else at_least(1e-9, float, 1e18)(value)


# Words that earlier versions used, in options.yml, checkpoints and presets: {option: {old: new}}.
OLD_WORDS = {"augmentation": {"mended": "fixed"}}


def current_word(option, value):
    """Returns what an option's value of an earlier version is called now; any other value unchanged."""
    return OLD_WORDS[option].get(value, value) if option in OLD_WORDS else value


def one_of(names):
    """Returns an argparse type: one of `names`; the error suggests the nearest of them."""
    def convert(value):
        if value not in names:
            raise argparse.ArgumentTypeError(f"'{shown(value)}' is unknown; there are {', '.join(names)}."
                                             + nearest(shown(value), names))
        return value
    convert.__name__ = "text"
    return convert


def augmentation(value):
    """The name of an augmentation; earlier names are understood."""
    return current_word("augmentation", value)


augmentation.__name__ = "text"  # in --help


def profile_steps(value):
    """Type of --profile_steps: FROM:TO, two numbers of steps."""
    if not re.fullmatch(r"\d{1,12}:\d{1,12}", value, re.ASCII):
        raise argparse.ArgumentTypeError(f"{shown(value)!r} is not FROM:TO, two numbers of steps")
    return value


profile_steps.__name__ = "FROM:TO"  # in --help


def check_name(name: str) -> None:
    """Raises UserError, naming --name, unless `name` is a plain folder name that is not too long."""
    if len(os.fsencode(name)) > LONGEST_NAME:
        raise UserError(f"--name: the name {shown(name)} has {len(os.fsencode(name))} bytes; at most {LONGEST_NAME} "
                        f"are possible, as files' names begin with it.")
    if Path(name).name != name or name in ("", ".", ".."):
        raise UserError(f"--name {name!r} must be a plain folder name, without slashes.")
