# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Lists the operators that a function runs on the device, and those for which torch_npu has no native kernel.

    missing = without_kernel(lambda: step(batch))      # []: torch_npu 2.13 has a native kernel for every operator

torch_npu_2.13_privateuse1_ops.json lists the operators that the wheel 2.13.0 registers for the device. On an NPU,
an operator outside the list would fail, or run on the CPU between two copies. Registered is not native: CPU_FALLBACKS
lists registered operators that themselves run on the CPU. A native operator may still be slow, or reject some dtypes
and layouts.

Names: the simulation records operators with their overload after torch has decomposed composite ones. conv2d
appears as convolution_overrideable, a + b as add.out (torch allocates, then calls the out variant), _foreach_add_
as add.out per tensor, .cpu() and .to() as copy_. torch_npu also has its own kernels for some composite operators;
on an NPU these run instead of the parts that are recorded here. The check covers the parts, not these kernels.
"""
import functools
import json
from pathlib import Path

import torch

LIST = Path(__file__).with_name("torch_npu_2.13_privateuse1_ops.json")

# Registered operators that the wheel 2.13.0 runs on the CPU, some of them (masked softmax) for certain inputs only.
# Its library contains a message or a function name for each (tests/npu/test_torch_npu_wheel.py).
CPU_FALLBACKS = frozenset({
    "aten::_fused_adam_", "aten::_fused_adam_.tensor_lr", "aten::_masked_softmax", "aten::_transform_bias_rescale_qkv",
    "aten::logit", "aten::logit.out", "aten::logit_", "aten::logit_backward", "aten::logit_backward.grad_input",
    "aten::scatter_reduce.two", "aten::scatter_reduce.two_out", "aten::scatter_reduce_.two", "aten::unfold_backward",
})

# {operator allowed although the list lacks it: reason}
EXCEPTIONS = {
    "aten::threshold_backward.grad_input":
        "ReLU's backward calls threshold_backward, which torch_npu registers; the simulation comes to this variant",
}


@functools.cache
def registered():
    """Returns the names, such as 'aten::add.out', that torch_npu registers for its device."""
    return frozenset(json.loads(LIST.read_text()))


def native():
    """Returns the registered operators that do not run on the CPU."""
    return registered() - CPU_FALLBACKS


def operators_used(work):
    """Returns sorted names of the operators that `work()` runs on the simulated NPU."""
    torch.npu.reset_ops_seen()
    work()
    return sorted(torch.npu.ops_seen())


def without_kernel(work):
    """Returns the operators of `work()` that are not native; ValueError if none ran on the device."""
    used = operators_used(work)
    if not used:
        raise ValueError("no operator ran on the simulated NPU: was the work done on another device?")
    return [name for name in used if name not in native() and name not in EXCEPTIONS]
