# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The process-group backend `hccl` of the simulated NPU: gloo on aliases of the same memory."""
import torch
import torch.distributed as dist

from . import _C


def as_cpu(value):
    """Returns CPU tensors that share the memory of a device tensor, or of a (nested) list of them."""
    if isinstance(value, torch.Tensor):
        if value.device.type != "npu":
            raise RuntimeError(f"No backend type associated with device type {value.device.type}")
        return _C.as_cpu(value.detach())
    return [as_cpu(v) for v in value]


class _Work(dist._Work):
    """Wraps gloo's work; its future holds the device tensors."""

    def __init__(self, work, result):
        super().__init__()
        self.work, self.result, self.future = work, result, None

    def wait(self, timeout=None):
        return self.work.wait() if timeout is None else self.work.wait(timeout)

    def is_completed(self):
        return self.work.is_completed()

    def get_future(self):
        if self.future is None:  # DDP requests it at once; waiting here keeps the simulation simple
            self.work.wait()
            self.future = torch.futures.Future()
            self.future.set_result(self.result)
        return self.future


class HcclSim(dist.ProcessGroup):
    """The collectives that the project and DDP use; any other raises an error that names it."""

    def __init__(self, store, rank, size, timeout):
        super().__init__(rank, size)
        self.gloo = dist.ProcessGroupGloo(store, rank, size, timeout)

    def getBackendName(self):  # noqa: N802
        return "hccl"

    @property
    def _device_types(self):  # device of all_gather_object's pickled data
        return [torch.device("npu")]

    def allreduce(self, tensors, opts=None):
        copy = dist.AllreduceOptions()
        if opts is not None:
            copy.reduceOp = opts.reduceOp
        return _Work(self.gloo.allreduce(as_cpu(tensors), copy), tensors)

    def allreduce_coalesced(self, tensors, opts=None):
        works = [self.allreduce([t], opts) for t in tensors]
        for work in works[:-1]:
            work.wait()
        return _Work(works[-1], tensors)

    def reduce(self, tensors, opts):
        copy = dist.ReduceOptions()
        copy.reduceOp, copy.rootRank, copy.rootTensor = opts.reduceOp, opts.rootRank, opts.rootTensor
        return _Work(self.gloo.reduce(as_cpu(tensors), copy), tensors)

    def broadcast(self, tensors, opts):
        copy = dist.BroadcastOptions()
        copy.rootRank, copy.rootTensor = opts.rootRank, opts.rootTensor
        return _Work(self.gloo.broadcast(as_cpu(tensors), copy), tensors)

    def allgather(self, outputs, tensors, opts=None):
        return _Work(self.gloo.allgather(as_cpu(outputs), as_cpu(tensors)), outputs)

    def _allgather_base(self, output, tensor, opts=None):
        return _Work(self.gloo._allgather_base(as_cpu(output), as_cpu(tensor)), [output])

    def gather(self, outputs, tensors, opts):
        copy = dist.GatherOptions()
        copy.rootRank = opts.rootRank
        return _Work(self.gloo.gather(as_cpu(outputs), as_cpu(tensors), copy), outputs)

    def scatter(self, outputs, tensors, opts):
        copy = dist.ScatterOptions()
        copy.rootRank = opts.rootRank
        return _Work(self.gloo.scatter(as_cpu(outputs), as_cpu(tensors), copy), outputs)

    def send(self, tensors, rank, tag=0):
        return _Work(self.gloo.send(as_cpu(tensors), rank, tag), tensors)

    def recv(self, tensors, rank, tag=0):
        return _Work(self.gloo.recv(as_cpu(tensors), rank, tag), tensors)

    def barrier(self, opts=None):
        return _Work(self.gloo.barrier(), [])


def register_hccl():
    """Makes `hccl` the default backend of the device type npu."""
    dist.Backend.register_backend("hccl", HcclSim, devices=["npu"])
