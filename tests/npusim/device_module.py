# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The module torch.npu of the simulated NPU: the part of torch_npu's module that this project may use."""
import types

import torch

from . import _C

ops_seen = _C.ops_seen
reset_ops_seen = _C.reset_ops_seen
ban = _C.ban
host_reads = _C.host_reads


def current_device():
    return _C.current_device()


def _index(device):
    """Returns the device index of None, 3, 'npu:3', 'npu' or a torch.device."""
    if device is None:
        return current_device()
    if isinstance(device, int):
        return device
    device = torch.device(device)
    if device.type != "npu":
        raise ValueError(f"expected an npu device, got {device}")
    return current_device() if device.index is None else device.index


# ---- devices ----
def is_available():
    return device_count() > 0


def device_count():
    return _C.device_count()


def set_device(device):
    _C.set_device(_index(device))


class device:  # noqa: N801  (torch's own spelling)
    """`with torch.npu.device(1):` makes npu:1 current inside."""

    def __init__(self, device):
        self.index = _index(device)

    def __enter__(self):
        self.before = current_device()
        set_device(self.index)

    def __exit__(self, *_):
        set_device(self.before)


def get_device_name(device=None):
    _index(device)
    return "simulated NPU"


def synchronize(device=None):
    _index(device)  # nothing to wait for: a call returns after its work is done


# Names that torch's generic code expects in a device's module
def init():
    pass


_lazy_init = init


def is_initialized():
    return True


def _is_in_bad_fork():
    return False


def _is_compiled():
    return True


# ---- streams and events ----
def Event(enable_timing=False, blocking=False, interprocess=False):  # noqa: N802
    return torch.Event("npu", enable_timing=enable_timing)


def Stream(device=None, priority=0):  # noqa: N802
    return torch.Stream(device=f"npu:{_index(device)}")


def current_stream(device=None):
    return torch.accelerator.current_stream(_index(device))


def stream(stream):
    return stream  # a torch.Stream is its own context manager


# ---- memory, in bytes ----
def memory_allocated(device=None):
    return torch.accelerator.memory_allocated(_index(device))


def max_memory_allocated(device=None):
    return torch.accelerator.max_memory_allocated(_index(device))


def memory_reserved(device=None):
    return torch.accelerator.memory_reserved(_index(device))


def max_memory_reserved(device=None):
    return torch.accelerator.max_memory_reserved(_index(device))


def reset_peak_memory_stats(device=None):
    torch.accelerator.reset_peak_memory_stats(_index(device))


def memory_stats(device=None):
    return torch.accelerator.memory_stats(_index(device))


def mem_get_info(device=None):
    return torch.accelerator.get_memory_info(_index(device))


def empty_cache():
    pass


# ---- random numbers: one generator per device, with the CPU's algorithm ----
def manual_seed(seed):
    _C.default_generator(current_device()).manual_seed(int(seed))


def manual_seed_all(seed):
    for index in range(device_count()):
        _C.default_generator(index).manual_seed(int(seed))


def initial_seed():
    return _C.default_generator(current_device()).initial_seed()


def get_rng_state(device="npu"):
    return _C.default_generator(_index(device)).get_state()


def set_rng_state(new_state, device="npu"):
    _C.default_generator(_index(device)).set_state(new_state)


# ---- precision and compilation switches: recorded, without effect ----
def get_amp_supported_dtype():
    return [torch.float16, torch.bfloat16]


def is_bf16_supported():
    return True


config = types.SimpleNamespace(allow_internal_format=True)
compile_mode = types.SimpleNamespace(jit_compile=None)  # the last value given to set_compile_mode


def set_compile_mode(jit_compile=False):
    compile_mode.jit_compile = jit_compile


def set_option(option):
    if not isinstance(option, dict):
        raise TypeError("npu option must be a dict.")


utils = types.SimpleNamespace(is_support_inf_nan=lambda: True)  # as on an Ascend 910B


def get_npu_overflow_flag():
    """Raises the same error as the real function on an Ascend 910B, which supports inf and nan."""
    raise RuntimeError("Unsupported api when soc_version >= Ascend910B1, please use npu_check_overflow")


def clear_npu_overflow_flag():
    """Does nothing; on an Ascend 910B the real function only warns that it has no effect."""
