# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Presets: named option files (presets/RECIPE/NAME.yml or a user's .yml) and their inheritance by `like`."""
from pathlib import Path
from typing import NamedTuple

from utils.errors import UserError, nearest, shown
from utils.files import check_regular_file
from utils.option_file import read_option_file

PRESETS = Path(__file__).parent / "presets"
OLD_NAMES = {"sparnet_half": "sparnet_half_width"}
# A file with these is the options.yml of a run: `preset` is there a record of where its values came from.
RECORDED = {"model", "name", "checkpoints_dir"}


class Value(NamedTuple):
    """An option's value (a text, a list of texts, or None: unset) and the file that sets it."""
    value: str | list[str] | None
    path: Path


def preset_files():
    """Returns {name: path} of the project's presets, sorted by name."""
    return {path.stem: path for path in sorted(PRESETS.rglob("*.yml"), key=lambda path: path.stem)}


def preset_names():
    return list(preset_files())


def find_preset(name, said="--preset", beside="."):
    """Returns the path of the preset `name`: one of preset_names(), or a path to a .yml, relative to `beside`.

    Raises UserError if there is none; its message begins with `said` and the name.
    """
    said = f"{said} {shown(name)}"
    if name.endswith((".yml", ".yaml")):
        path = Path(beside, name)
        try:
            check_regular_file(path)
        except UserError as error:
            raise UserError(f"{said}: {str(error).removeprefix(f'{path}: ')}") from None
        return path
    files = preset_files()
    name = OLD_NAMES.get(name, name)
    if name not in files:
        raise UserError(f"{said}: there is no such preset; there are {', '.join(files)}." + nearest(name, files))
    return files[name]


def read_preset(path):
    """Returns {option: Value} of the preset at `path` and its `like` ancestors; the nearer preset wins.

    Raises UserError, naming the file, if the chain of `like` is circular or contains two recipes.
    """
    values, chain, path = {}, [], Path(path)
    while path:
        if any(path.samefile(other) for other in chain):
            raise UserError(f"{chain[-1]}: like: {path.stem} leads back to itself "
                            f"({' -> '.join(p.stem for p in [*chain, path])}); remove one `like`.")
        chain.append(path)
        own = read_options(path)
        parent = own.pop("like", None)
        mine, theirs = values.get("model"), own.get("model")
        if mine and theirs and mine.value and theirs.value and mine.value != theirs.value:
            raise UserError(f"{mine.path}: model: {mine.value}, but it is like {path.stem}, which is for "
                            f"{theirs.value}; change one of them.")
        values = own | values
        path = find_preset(parent.value, f"{path}: like:", path.parent) if parent and parent.value else None
    return values


def read_options(path):
    """Returns {option: Value} of the `option: value` lines at `path`; raises UserError for other content."""
    content = read_option_file(path)
    for key in {"like", "model", "preset"} & content.keys():
        if isinstance(content[key], list):
            raise UserError(f"{path}: {key}: one value is expected, not a list.")
    if content.get("preset") and not content.keys() >= RECORDED:
        raise UserError(f"{path}: preset: a preset takes another's values by `like: {shown(content['preset'])}`; "
                        f"write that.")
    return {key: Value(value, path) for key, value in content.items()}


def is_own(path):
    """Returns whether the preset at `path` is a user's file, not one of the project's."""
    return not Path(path).resolve().is_relative_to(PRESETS)
