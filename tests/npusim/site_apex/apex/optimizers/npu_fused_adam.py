# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The optimizers' formulas are torch's; flat parameters are left out, since they change no result."""
import torch


class NpuFusedAdam(torch.optim.Adam):
    def __init__(self, params, **options):
        super().__init__(params, foreach=False, **options)


class NpuFusedRMSprop(torch.optim.RMSprop):
    def __init__(self, params, **options):
        super().__init__(params, foreach=False, **options)
