"""Shared tools: device, precision, training loop, checkpoints, logs, metrics, pictures.

Every entry point imports it before torch, which reads these variables while it loads.
"""
import os

# With torch-npu's wheel installed on a machine without CANN, plain `import torch` fails unless backend
# autoloading is off. utils/device.py imports torch_npu itself, guarded.
os.environ.setdefault("TORCH_DEVICE_BACKEND_AUTOLOAD", "0")
# OpenMP's threads otherwise spin long while they wait, on the very cores that a loader's worker (or another
# program) needs: two trainings on two cores then all but stop. Not to spin at all (OMP_WAIT_POLICY=PASSIVE) is
# slower for a training alone. Measured by benchmarks/openmp_waiting.py; a variable that is set already stays.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
