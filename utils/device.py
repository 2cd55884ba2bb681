# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The device shim: the only file that names npu and cuda.

It uses torch's generic interface (torch.accelerator, torch.Event, torch.amp) where possible and adds only what that
interface lacks. Nothing here falls back silently.
"""
import os
import random

import numpy as np
import torch

from utils.apex_package import find_apex
from utils.device_names import DEVICES
from utils.errors import UserError, nearest
from utils.processor import processor

try:  # Ascend: registers the device `npu` with torch
    import torch_npu
except ImportError:
    torch_npu = None


def pick_device(name="auto", index=None):
    """Returns the torch.device for --device: `auto` (npu, then cuda, then cpu), one of DEVICES, or e.g. cuda:1.

    index: --device_id. If neither option gives a card number, an NPU uses ASCEND_DEVICE_ID from the environment.
    Raises UserError if the device is not available: another device is never used instead.
    """
    kind, _, suffix = name.partition(":")
    numbered = kind in DEVICES and kind != "cpu"
    if kind not in ("auto", *DEVICES) or (suffix and not (numbered and suffix.isdecimal())):
        raise UserError(f"--device {name}: unknown device; it is one of auto, {', '.join(DEVICES)}, or npu:N, cuda:N."
                        + nearest(kind, DEVICES))
    if kind == "auto":
        kind = next(d for d in DEVICES if _is_available(d))
    elif not _is_available(kind):
        raise UserError(f"--device {name}: {_why_absent(kind)} Use --device auto to take the available device.")
    if kind == "cpu":
        return torch.device("cpu")
    if suffix:
        if index is not None:
            raise UserError(f"--device {name} and --device_id {index} both name a card: give only one of them.")
        index = int(suffix)
    elif index is None:
        index = _ascend_device_id() if kind == "npu" else 0
    count = torch.get_device_module(kind).device_count()
    if index >= count:
        raise UserError(f"device {kind}:{index} does not exist: this machine shows {count} {kind} device(s), "
                        f"numbered from 0. Choose another with --device_id.")
    return torch.device(kind, index)


def _ascend_device_id():
    text = os.environ.get("ASCEND_DEVICE_ID") or "0"
    if not text.isdecimal():
        raise UserError(f"ASCEND_DEVICE_ID in the environment is {text!r}, not the number of a card.")
    return int(text)


def _is_available(kind):
    if kind == "cpu":
        return True
    if kind == "npu":
        return hasattr(torch, "npu") and torch.npu.is_available()
    return torch.cuda.is_available()


def _why_absent(kind):
    if kind == "cuda":
        if torch.version.cuda is None:
            return f"this PyTorch ({torch.__version__}) is built without CUDA."
        return "PyTorch sees no CUDA device (driver, or CUDA_VISIBLE_DEVICES?)."
    if torch_npu is None and not hasattr(torch, "npu"):
        return "torch_npu cannot be imported (is torch-npu installed, and CANN's set_env.sh sourced?)."
    return "torch_npu is installed but sees no NPU (driver, or ASCEND_RT_VISIBLE_DEVICES?)."


def set_up(device):
    """Makes `device` current and sets the backend switches for this project's networks."""
    if device.type != "cpu":
        torch.get_device_module(device).set_device(device)
    if device.type == "npu":
        torch.npu.set_compile_mode(jit_compile=False)  # prebuilt kernels: there are few shapes, all static
        if hasattr(torch.npu, "config"):
            torch.npu.config.allow_internal_format = False
    torch.backends.cudnn.benchmark = True  # every step has the same shapes


def banner(device, opt_level, half, workers, trains=False):
    """Returns the log's first line: device, precision, torch version and number of workers.

    trains: also names the implementation of mixed precision. A second line says why an installed apex is not used.
    """
    precision, warning = "float32", ""
    if opt_level != "O0":
        precision = f"{opt_level} with {str(half).removeprefix('torch.')}"
        if trains:
            by, warning = _mixed_precision(device)
            precision += f" by {by}"
    return (f"Device: {device} ({machine(device)}) | precision {precision} | torch {torch.__version__} | "
            f"{workers} workers{warning}")


def machine(device):
    """Returns the accelerator's name, or the CPU's with what it can do and the number of threads."""
    if device.type == "cpu":
        return f"{processor()}, {torch.get_num_threads()} threads"
    return torch.get_device_module(device).get_device_name(device)


def _mixed_precision(device):
    """Returns (name of the implementation that trains on `device`, a line of warning or '')."""
    if ascend_apex(device) is not None:
        return f"Ascend's apex {find_apex().version}".rstrip(), ""
    refusal = find_apex().refusal if device.type == "npu" else ""
    return "utils/amp.py", f"\nwarning: {refusal}: utils/amp.py does the mixed precision instead." if refusal else ""


def default_opt_level(device):
    return "O0" if device.type == "cpu" else "O2"


def best_opt_level(device):
    """Returns O2 on a device that has instructions for half precision, else O0: what --opt_level auto means."""
    return "O0" if device.type == "cpu" and not processor().has_bf16 else "O2"


def default_half(device):
    """Returns float16 on accelerators, like Ascend's apex, and bfloat16 on a CPU: some have instructions for it."""
    return torch.bfloat16 if device.type == "cpu" else torch.float16


def memory_format(device):
    """Returns channels_last on CUDA and on a CPU with vector instructions, and contiguous elsewhere.

    An NPU lacks channels_last. On a CPU, every network restores faster in channels_last: 1.1 to 1.6 times with AVX2.
    It also trains faster, with AVX2 because of models/convolution.py. On x86 without AVX2 both are slower. Measured by
    benchmarks/layout.py (benchmarks/RESULTS.md), not on ARM.
    """
    if device.type == "cuda" or device.type == "cpu" and processor().has_vectors:
        return torch.channels_last
    return torch.contiguous_format


def synchronize(device):
    """Waits for all work queued on `device`; does nothing on a CPU."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def timing_event(device):
    """Returns an accelerator's event: record(), and elapsed_time(end) in ms after a synchronize."""
    return torch.Event(device, enable_timing=True)


def peak_memory_gb(device):
    """Returns the peak memory allocated on the device so far, in GB (1e9 bytes), or None on a CPU."""
    if device.type == "cpu":
        return None
    return torch.get_device_module(device).max_memory_allocated(device) / 1e9


def reset_peak_memory(device):
    """Makes peak_memory_gb count from now on."""
    if device.type != "cpu":
        torch.get_device_module(device).reset_peak_memory_stats(device)


def has_graphs(device):
    """Returns whether record_graph supports `device`."""
    return device.type == "cuda"


def record_graph(network, example):
    """Returns a function of a tensor like `example` that replays the kernels of network(example) as one CUDA graph.

    Its result is overwritten by the next call.
    """
    place, stream = example.clone(), torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # kernels must have been chosen before they are recorded
        for _ in range(3):
            network(place)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = network(place)

    def replay(new):
        place.copy_(new)
        graph.replay()
        return result
    return replay


def seed_everything(seed):
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def rng_state(device):
    """Returns torch's random number states of this process: {'cpu': tensor, 'device': tensor or None}."""
    on_device = None if device.type == "cpu" else torch.get_device_module(device).get_rng_state(device)
    return {"cpu": torch.get_rng_state(), "device": on_device}


def set_rng_state(state, device):
    torch.set_rng_state(state["cpu"])
    if device.type != "cpu" and state["device"] is not None:
        torch.get_device_module(device).set_rng_state(state["device"], device)


def make_optimizer(spec, params, device, opt_level):
    """Returns the optimizer over `params` that `spec` (an OptimizerSpec, models/base_model.py) describes."""
    return {"adam": adam, "rmsprop": rmsprop}[spec.kind](params, device, opt_level, **spec.numbers())


def adam(params, device, opt_level, lr, betas, weight_decay=0.0, eps=1e-8):
    """Returns a fused Adam: NpuFusedAdam on an NPU, torch's fused Adam elsewhere.

    On an NPU, it is Ascend apex's NpuFusedAdam if apex does the mixed precision, else torch_npu's. torch_npu runs the
    operator of torch's fused Adam on the CPU.
    """
    options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
    apex = ascend_apex(device)
    if apex is not None and opt_level != "O0":
        return apex.optimizers.NpuFusedAdam(params, **options)
    if device.type == "npu":
        return torch_npu.optim.NpuFusedAdam(params, **options)
    return torch.optim.Adam(params, fused=True, **options)


def rmsprop(params, device, opt_level, lr, alpha=0.99, weight_decay=0.0, eps=1e-8):
    """Returns Ascend apex's NpuFusedRMSprop if apex does the mixed precision, else torch's RMSprop.

    With combine_grad, torch's RMSprop needs as few kernel launches as a fused one.
    """
    options = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay}
    apex = ascend_apex(device)
    if apex is not None and opt_level != "O0":
        return apex.optimizers.NpuFusedRMSprop(params, **options)
    return torch.optim.RMSprop(params, **options)


def has_sync_batch_norm(device):
    """Returns whether torch.nn.SyncBatchNorm supports `device`."""
    return device.type == "cuda"


def saturates(device):
    """Returns True on an NPU whose half arithmetic saturates at the largest number instead of giving inf (Ascend 910A).

    There, only the device's float status shows an overflow; the gradients do not.
    """
    return device.type == "npu" and torch_npu is not None and not torch_npu.npu.utils.is_support_inf_nan()


def clear_float_status():
    """Clears the overflow flag of a saturating NPU."""
    torch_npu.npu.clear_npu_overflow_flag()


def float_status_overflowed():
    """Returns whether a saturating NPU has overflowed since clear_float_status(). Waits for the device."""
    return torch_npu.npu.get_npu_overflow_flag()


def ascend_apex(device):
    """Returns Ascend's apex module on an NPU, else None."""
    return find_apex().module if device.type == "npu" else None


def profiler(device, folder, worker):
    """Returns a profiler (a context manager) that writes a trace for tensorboard into `folder` when it ends.

    worker: name of this process in the trace. torch_npu's profiler on an NPU, torch's elsewhere.
    """
    if device.type == "npu" and torch_npu is not None:
        module, activities = torch_npu.profiler, ("CPU", "NPU")
    else:
        module, activities = torch.profiler, ("CPU", *(["CUDA"] if device.type == "cuda" else []))
    return module.profile(activities=[getattr(module.ProfilerActivity, name) for name in activities],
                          on_trace_ready=module.tensorboard_trace_handler(str(folder), worker_name=worker))
