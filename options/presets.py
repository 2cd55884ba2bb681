"""Presets: named option files (presets/RECIPE/NAME.yml or a user's .yml) and their inheritance by `like`."""
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from utils.errors import UserError, nearest

PRESETS = Path(__file__).parent / "presets"
OLD_NAMES = {"sparnet_half": "sparnet_half_width"}


class Value(NamedTuple):
    """An option's value and the file that sets it."""
    value: Any
    path: Path


def preset_files():
    """Returns {name: path} of the project's presets, sorted by name."""
    return {path.stem: path for path in sorted(PRESETS.rglob("*.yml"), key=lambda path: path.stem)}


def preset_names():
    return list(preset_files())


def find_preset(name, said="--preset {}", beside="."):
    """Returns the path of the preset `name`: one of preset_names(), or a path to a .yml, relative to `beside`.

    Raises UserError if there is none; its message begins with `said`.
    """
    said, name = said.format(name), str(name)
    if name.endswith((".yml", ".yaml")):
        if not Path(beside, name).is_file():
            raise UserError(f"{said}: there is no such file.")
        return Path(beside, name)
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
        if mine and theirs and mine.value != theirs.value:
            raise UserError(f"{mine.path}: model: {mine.value}, but it is like {path.stem}, which is for "
                            f"{theirs.value}; change one of them.")
        values = own | values
        path = find_preset(parent.value, f"{path}: like: {{}}", path.parent) if parent else None
    return values


def read_options(path):
    """Returns {option: Value} of the `option: value` lines at `path`; raises UserError for other content."""
    try:
        content = yaml.safe_load(Path(path).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read as YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: `option: value` lines are expected.")
    return {key: Value(value, path) for key, value in content.items()}


def is_own(path):
    """Returns whether the preset at `path` is a user's file, not one of the project's."""
    return not Path(path).resolve().is_relative_to(PRESETS)
