"""Shared tools: device, precision, training loop, checkpoints, logs, metrics, pictures.

Imported before torch by every entry point, because of the line below: with torch-npu's wheel installed on
a machine without CANN, plain `import torch` fails unless backend autoloading is off. utils/device.py then
imports torch_npu itself, guarded.
"""
import os

os.environ.setdefault("TORCH_DEVICE_BACKEND_AUTOLOAD", "0")
