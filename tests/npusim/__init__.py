# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""A simulated NPU: `import npusim` gives torch eight devices `npu` and a process-group backend `hccl`.

The devices use host memory and the CPU's kernels, so results equal the CPU's bit for bit.

A test on it can check:
- tensors are created on and moved to the right device (mixing devices raises an error, as on a real NPU);
- half precision, loss scales and float32 masters are connected correctly;
- how often a step reads from the device, and which operators it uses;
- checkpoints and random states can be saved and restored;
- processes communicate through `hccl`.

It cannot check Ascend's numerics (hf32, accumulation order, saturation), speed, memory layout or asynchrony: here
a call returns after its work is done. Its timings and memory figures say nothing about a real NPU.

    npusim.set_visible(0)          hides all devices, as on a machine without NPU; set_visible(8) shows them
    torch.npu.ops_seen()           operators that ran on the device, e.g. 'aten::add.out'
    torch.npu.reset_ops_seen()     clears that list
    torch.npu.ban(["aten::sort"])  makes these raise NotImplementedError; ban([]) allows all again
    torch.npu.host_reads()         number of reads from a device: item(), .cpu(), copy_ to host, nonzero, index by mask

Importing registers the device for the whole process: torch.accelerator and `--device auto` then find it. In
pytest use the fixture `npu` of tests/conftest.py, which hides the devices again after each test. For a separate
process, e.g. a shell script of test/:

    PYTHONPATH=tests/npusim/site bash test/train_full_1p.sh --data_url=...

puts a stand-in for torch_npu (tests/npusim/site/torch_npu) on the path. The stand-in imports this package, as the
real torch_npu registers the real device. utils/device.py imports torch_npu if it is installed. A process that never
imports it sees no NPU, as on a real machine without backend autoloading.
"""
import atexit
import sys
import time

import torch

from .build import NoCompiler, load_extension

_C = load_extension()  # raises NoCompiler without a C++ compiler

from . import device_module  # noqa: E402  (these two need _C)
from .hccl import as_cpu, register_hccl  # noqa: E402

__all__ = ["DEVICES", "NoCompiler", "as_cpu", "set_visible"]

DEVICES = 8


def set_visible(count):
    """Makes the first `count` (0 to 8) devices visible to torch. Tensors on hidden devices stay valid."""
    _C.set_visible(count)


def _register():
    torch.utils.rename_privateuse1_backend("npu")
    torch._register_device_module("npu", device_module)  # makes torch.npu, as torch_npu does
    sys.modules["torch.npu"] = device_module
    torch.utils.generate_methods_for_privateuse1_backend(for_storage=True)
    register_hccl()
    # Autograd's device threads release Python objects shortly after backward() returns. An interpreter that
    # exits before that would abort.
    atexit.register(time.sleep, 0.2)


_register()
