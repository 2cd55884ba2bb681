# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
from .npu_fused_adam import NpuFusedAdam, NpuFusedRMSprop

__all__ = ["NpuFusedAdam", "NpuFusedRMSprop"]
