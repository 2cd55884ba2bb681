# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Shared tools, independent of networks and data, and the environment variables that torch reads when it loads.

Python runs a package's `__init__` before any module in it. The `__init__` of every package here imports this one, so
the variables below are set before torch is imported, for every entry, tool, benchmark or `python -m` module and for any
import order. tests/entries/test_before_torch.py starts each of them. If a program has already imported torch, the
variables have no effect and do no harm.
"""
import os

# If torch-npu is installed without CANN, `import torch` fails while it loads backends automatically.
# utils/device.py imports torch_npu itself and handles a failure.
os.environ.setdefault("TORCH_DEVICE_BACKEND_AUTOLOAD", "0")
# By default, waiting OpenMP threads spin for a long time on cores that loader workers or other programs need: if two
# trainings share two cores, one of them almost stops. No spinning at all (OMP_WAIT_POLICY=PASSIVE) slows down a
# training that runs alone. Measured by benchmarks/openmp_waiting.py. A variable that is already set is unchanged.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
