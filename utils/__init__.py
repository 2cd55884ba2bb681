"""Shared tools that know nothing of networks or data, and the environment that torch must find when it loads.

Python runs a package's `__init__` before any module in it. The `__init__` of every package here imports this one, so
that the variables below are set before torch is imported, whichever entry, tool, benchmark or `python -m` module is
started, and in whatever order its imports are sorted. tests/entries/test_before_torch.py starts each of them. In a
program that has imported torch already they come too late, without harm.
"""
import os

# Where torch-npu is installed without CANN, plain `import torch` fails unless it loads no backends by itself.
# utils/device.py imports torch_npu, guarded.
os.environ.setdefault("TORCH_DEVICE_BACKEND_AUTOLOAD", "0")
# OpenMP's threads otherwise spin for long while they wait, on the cores that a loader's worker or another program
# needs: of two trainings on two cores one then all but stops. Not spinning at all (OMP_WAIT_POLICY=PASSIVE) slows down
# a training that runs alone. Measured by benchmarks/openmp_waiting.py. A variable that is already set is unchanged.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
