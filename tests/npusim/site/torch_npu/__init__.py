# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""A stand-in for torch_npu: `import torch_npu` registers the simulated NPU.

Put tests/npusim/site on PYTHONPATH. The module has only what this project may call, with the real wheel's names
and signatures; tests/npu/test_torch_npu_wheel.py checks both against one table (wheel 2.13.0).
"""
import importlib.util
import sys
from pathlib import Path


def _load_npusim():
    """Imports the package tests/npusim, even if its folder is not on sys.path."""
    if "npusim" not in sys.modules:
        folder = Path(__file__).resolve().parents[2]
        spec = importlib.util.spec_from_file_location("npusim", folder / "__init__.py",
                                                      submodule_search_locations=[str(folder)])
        sys.modules["npusim"] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules["npusim"]


_npusim = _load_npusim()

from npusim import device_module as npu  # noqa: E402

from . import optim, profiler  # noqa: E402

__all__ = ["npu", "optim", "profiler"]
__version__ = "2.13.0+simulated"


def get_npu_format(tensor):
    """Returns the storage layout: always 2, plain ND, as on a real NPU with allow_internal_format=False."""
    return 2


def npu_format_cast(tensor, acl_format):
    return tensor


def get_storage_size(tensor):
    """Returns the number of elements in the tensor's whole storage; a view may have fewer elements."""
    return tensor.untyped_storage().nbytes() // tensor.element_size()


npu_change_data_ptr = _npusim._C.change_data_ptr
