# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""A stand-in for torch_npu.profiler: torch's profiler, which sees the simulated NPU's operators on the host."""
from types import SimpleNamespace

import torch.profiler
from torch.profiler import tensorboard_trace_handler

__all__ = ["ProfilerActivity", "profile", "tensorboard_trace_handler"]
ProfilerActivity = SimpleNamespace(CPU="CPU", NPU="NPU")


def profile(activities, on_trace_ready):
    """Returns torch's profiler of the host; `activities` are those of ProfilerActivity."""
    if not set(activities) <= set(vars(ProfilerActivity).values()):
        raise ValueError(activities)
    return torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], on_trace_ready=on_trace_ready)
