# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Networks of which only the shapes are known, to count their parameters."""
import contextlib

import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


@contextlib.contextmanager
def shapes_only():
    """Builds networks on torch's device `meta`, which knows shapes only, and without first values."""
    with torch.device("meta"), _Unfilled():
        yield


class _Unfilled(TorchFunctionMode):
    """Leaves out first values and normalisation: no shape depends on them, and on `meta` they take most of the time."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if getattr(function, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        if function in (torch.Tensor.normal_, torch.Tensor.uniform_, F.normalize):
            return args[0]
        return function(*args, **kwargs)
