# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Finds Ascend's apex among the unrelated packages that are also called apex."""
import functools
import importlib.metadata
import importlib.util
from pathlib import Path
from typing import NamedTuple

from utils.errors import first_line


class Found(NamedTuple):
    """module: Ascend's apex or None; version: its version; refusal: why the installed apex is not used, or ''."""
    module: object
    version: str
    refusal: str


@functools.cache
def find_apex():
    """Returns what is installed under the name apex. Imports it only if its files are those of Ascend's."""
    spec = importlib.util.find_spec("apex")
    if spec is None:
        return Found(None, "", "")
    version = _version()
    owner = _owner([Path(folder) for folder in spec.submodule_search_locations or ()])
    if owner != "Ascend":
        return Found(None, version, f"the installed apex {version} is {owner}, not Ascend's".replace("  ", " "))
    try:
        import apex
        from apex import amp, optimizers
        for module, name in ((amp, "initialize"), (amp, "scale_loss"), (optimizers, "NpuFusedAdam")):
            if not hasattr(module, name):
                raise ImportError(f"{module.__name__} has no {name}")
    except Exception as error:  # noqa: BLE001  (a build for another torch or CANN raises whatever it meets first)
        reason = f"{type(error).__name__}: {first_line(error)}"
        return Found(None, version, f"Ascend's apex {version} cannot be imported ({reason})".replace("  ", " "))
    return Found(apex, version, "")


def _version():
    try:
        return importlib.metadata.version("apex")
    except importlib.metadata.PackageNotFoundError:  # a folder on PYTHONPATH
        return ""


def _owner(folders):
    """Returns whose package lies in `folders`, judged by the names of its files."""
    def has(*names):
        return any((folder / name).exists() for folder in folders for name in names)

    if has("optimizers/npu_fused_adam.py", "contrib/combine_tensors"):
        return "Ascend"
    if has("optimizers/fused_adam.py", "normalization", "amp"):
        return "NVIDIA's"
    return "an unrelated package of that name"
