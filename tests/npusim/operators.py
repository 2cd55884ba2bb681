"""Which operators a piece of work uses on the device, and whether torch_npu has native kernels for them.

    missing = without_kernel(lambda: step(batch))      # [] : every operator is registered by torch_npu 2.13

torch_npu_2.13_privateuse1_ops.json lists what the wheel 2.13.0 registers for the device. An operator that is
not in the list would fail on an NPU, or run on the CPU behind a copy there and back. Registered does not mean
fast, and not that every dtype and layout is taken.

What the names mean. The simulation records the operators that reach the device after torch has taken
composite ones apart, with their overload: conv2d appears as convolution_overrideable, a + b as add.out (torch
allocates, then calls the out variant), _foreach_add_ as add.out for each tensor, .cpu() and .to() as copy_.
torch_npu has kernels for some composite operators as well, which then run instead of the parts seen here. So
this is a check of the parts; that a composite kernel of torch_npu's own works is not seen.
"""
import functools
import json
from pathlib import Path

import torch

LIST = Path(__file__).with_name("torch_npu_2.13_privateuse1_ops.json")

# Operators that may be used although the list lacks them: name -> reason.
EXCEPTIONS: dict[str, str] = {
    "aten::threshold_backward.grad_input": "of ReLU: torch calls aten::threshold_backward, which is registered; the "
                                           "simulation has no kernel of its own for it and sees what torch makes of it",
}


@functools.cache
def registered():
    """Names such as 'aten::add.out' that torch_npu registers for its device."""
    return frozenset(json.loads(LIST.read_text()))


def operators_used(work):
    """Sorted names of the operators that `work()` runs on the simulated NPU."""
    torch.npu.reset_ops_seen()
    work()
    return sorted(torch.npu.ops_seen())


def without_kernel(work):
    """Those of them that torch_npu does not register. ValueError when `work()` did not use the device."""
    used = operators_used(work)
    if not used:
        raise ValueError("no operator ran on the simulated NPU: was the work done on another device?")
    return [name for name in used if name not in registered() and name not in EXCEPTIONS]
