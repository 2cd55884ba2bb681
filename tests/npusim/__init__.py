"""A simulated NPU: `import npusim`, and torch has eight devices `npu` and a process group `hccl`.

Their memory is host memory and their kernels are the CPU's, so results equal the CPU's bit for bit.

What a test on it proves: that tensors are made on and moved to the right device (mixing devices raises, as on
a real one), that half precision, loss scales and masters are plumbed rightly, that a step does not read from
the device more often than it should, which operators are used, that checkpoints and random states survive,
and that processes talk to each other through `hccl`.
What it does not prove: anything of Ascend's numerics (hf32, accumulation order, saturation), of its speed or
its memory layout, or of asynchrony: here work is done when a call returns. No number from it is an NPU's.

    npusim.set_visible(0)          as on a machine without NPU; set_visible(8) shows them again
    torch.npu.ops_seen()           operators that ran on the device, e.g. 'aten::add.out'
    torch.npu.reset_ops_seen()     forgets them
    torch.npu.ban(["aten::sort"])  these now raise NotImplementedError; ban([]) allows all again
    torch.npu.host_reads()         how often the host has read from a device: item(), .cpu(), copy_ to host

Importing registers the device for the whole process: torch.accelerator and `--device auto` then find it. In
pytest use a fixture like the `npu` in tests/conftest.py, which hides the devices again after each test. For
a process of its own, e.g. a shell script of test/:

    PYTHONPATH=tests/npusim/site bash test/train_full_1p.sh --data_url=...

puts a stand-in for torch_npu on the path (tests/npusim/site/torch_npu), which imports this package, as the
real one registers the real device. utils/device.py imports torch_npu where there is one; no sitecustomize is
needed, and a process that never does so sees no NPU, as on a real machine with backend autoloading off.
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
    """Let torch see the first `count` (0 to 8) devices. Tensors on hidden devices live on."""
    _C.set_visible(count)


def _register():
    torch.utils.rename_privateuse1_backend("npu")
    torch._register_device_module("npu", device_module)  # torch.npu, as torch_npu does it
    sys.modules["torch.npu"] = device_module
    torch.utils.generate_methods_for_privateuse1_backend(for_storage=True)
    register_hccl()
    # autograd's device threads let go of Python objects a moment after backward() has returned; an
    # interpreter that ends within that moment would abort
    atexit.register(time.sleep, 0.2)


_register()
