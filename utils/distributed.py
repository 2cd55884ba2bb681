# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Data-parallel training: a thin layer over torch.distributed, started by torchrun, also for one process.

    torchrun --nproc_per_node=8 newtrain.py --dataroot FACES ...

Every function also works in a single process without a group, as if it were the only rank. There are two groups:
the device's group (hccl, nccl, gloo on a CPU) carries gradients; a gloo group carries host-side messages (objects,
stop flags). Reading these never waits for the device, and a rank's death is detected by its closed connection.
"""
import contextlib
import importlib
import inspect
import os
import signal
import sys
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

import utils.device
from utils import errors
from utils.environment import number
from utils.errors import LOST_CONTACT, UserError, first_line
from utils.signals import ending_in_time, exit_status

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # set by torchrun

HCCL_UNIT, HCCL_LONGEST = 68, 17340  # seconds: HCCL_EXEC_TIMEOUT counts in multiples of one, up to the other
HCCL_CONNECT_RANGE = (120, 7200)  # seconds that HCCL_CONNECT_TIMEOUT may be

_host_group = None


def launched():
    """Returns whether torchrun started this process. Raises UserError if its variables are missing or invalid."""
    missing = [name for name in VARIABLES if name not in os.environ]
    if "RANK" not in os.environ and "LOCAL_RANK" not in os.environ:
        return False
    if missing:
        raise UserError(f"the environment looks like torchrun's, but {', '.join(missing)} is not set: "
                        f"start with `torchrun --nproc_per_node=N newtrain.py ...`, which sets "
                        f"{', '.join(VARIABLES)}.")
    number("RANK", largest=number("WORLD_SIZE", least=1) - 1)
    number("LOCAL_RANK")
    return True


def join_ranks(options):
    """Sets up and returns this process's device; under torchrun, also joins the other ranks.

    options: device, device_id, dist_timeout (seconds). Raises UserError if the device is not available or the ranks
    do not answer.
    """
    several = launched()
    if several and (options.device_id is not None or ":" in options.device):
        raise UserError("--device_id and --device KIND:N are for one process; under torchrun each takes the card of "
                        "its LOCAL_RANK (choose cards with ASCEND_RT_VISIBLE_DEVICES or CUDA_VISIBLE_DEVICES).")
    device = utils.device.pick_device(options.device, int(os.environ["LOCAL_RANK"]) if several else options.device_id)
    utils.device.set_up(device)
    if several:
        start(device, options.dist_timeout)
    return device


def start(device, timeout_seconds):
    """Joins the other ranks. Raises UserError if they cannot be reached within the timeout."""
    global _host_group
    timeout = timedelta(seconds=timeout_seconds)
    device_timeout = timeout
    if dist.get_default_backend_for_device(device) == "hccl":
        times, seconds = hccl_times(timeout_seconds, os.environ)
        os.environ.update(times)
        device_timeout = timedelta(seconds=seconds)
    # Import this module before the group exists. Its functions' default arguments keep the group that exists at the
    # first import (torch.optim imports it), even after destroy_process_group.
    importlib.import_module("torch.distributed.nn.functional")
    try:
        with ending_in_time(_leave_unjoined):
            dist.init_process_group(dist.get_default_backend_for_device(device), timeout=device_timeout,
                                    **_fresh_store(timeout))
            _host_group = dist.group.WORLD if device.type == "cpu" else dist.new_group(backend="gloo", timeout=timeout)
            dist.barrier(group=_host_group)
    except (RuntimeError, ValueError) as error:  # DistStoreError, DistNetworkError are RuntimeErrors
        where = ":".join(os.environ[name] for name in ("MASTER_ADDR", "MASTER_PORT"))
        raise UserError(f"rank {os.environ['RANK']} of {os.environ['WORLD_SIZE']} could not join the others at {where} "
                        f"within {timeout_seconds:g} s (--dist_timeout): {first_line(error)}", status=1) from None


def _leave_unjoined(received):
    """Ends a process that a signal reached while it waits for ranks to join, which may be gone."""
    print(f"stopped by {signal.Signals(received).name} while waiting for the other ranks; nothing was changed",
          file=sys.stderr, flush=True)
    os._exit(exit_status(received))


def hccl_times(timeout_seconds, environ):
    """Returns ({environment variable: value} for HCCL, seconds of the device's group); both follow from --dist_timeout.

    A variable that `environ` has stays as it is. The group's time exceeds HCCL's own: otherwise the group would end the
    process before HCCL has written into its log (plog) which rank did not answer.
    """
    units = -(-timeout_seconds // HCCL_UNIT)
    shortest, longest = HCCL_CONNECT_RANGE
    times = {"HCCL_EXEC_TIMEOUT": min(units * HCCL_UNIT, HCCL_LONGEST),
             "HCCL_CONNECT_TIMEOUT": min(max(timeout_seconds, shortest), longest)}
    times = {name: environ.get(name) or str(int(value)) for name, value in times.items()}
    try:
        seconds = float(times["HCCL_EXEC_TIMEOUT"])
    except ValueError:
        raise UserError(f"HCCL_EXEC_TIMEOUT in the environment is {times['HCCL_EXEC_TIMEOUT']!r}, not a number of "
                        f"seconds.") from None
    return times, max(seconds, timeout_seconds) + HCCL_UNIT


def _fresh_store(timeout):
    """Returns arguments of init_process_group that keep restarted ranks from reading dead ranks' addresses.

    torchrun's agent keeps its store, with the old ranks' entries, over a restart (torch 2.13). A prefix per restart
    hides them. Only on one node: each agent counts its own restarts.
    """
    if not restarted() or os.environ.get("LOCAL_WORLD_SIZE") != os.environ["WORLD_SIZE"]:
        return {}
    store, rank, ranks = next(dist.rendezvous("env://", timeout=timeout))
    return {"store": dist.PrefixStore(f"restart_{os.environ['TORCHELASTIC_RESTART_COUNT']}", store), "rank": rank,
            "world_size": ranks}


@contextlib.contextmanager
def session():
    """Destroys the group on exit; failures caused by another process become UserError."""
    global _host_group
    errors.end_process = leave
    try:
        yield
    except RuntimeError as error:
        raise explained(error) from None
    if dist.is_initialized():  # not after a failure: the other ranks may be gone
        dist.destroy_process_group()
        _host_group = None


def leave(status):
    """Exits with `status`; if the group still exists (after a failure), exits at once, without clean-up.

    A normal exit while gloo's threads run ends in SIGABRT (torch 2.13), which would hide the status.
    """
    if dist.is_initialized():
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):  # nobody may read it any more
                stream.flush()
        os._exit(status or 0)
    sys.exit(status)


def rank():
    return dist.get_rank() if dist.is_initialized() else 0


def world_size():
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main():
    """Returns whether this is rank 0, the only rank that writes files and logs."""
    return rank() == 0


def average_(tensors):
    """Replaces each tensor (on the device) by its mean over the ranks, in place.

    Tensors are divided before the sum, like in DistributedDataParallel, so that half precision overflows no earlier
    than on one device.
    """
    if world_size() == 1 or not tensors:
        return
    torch._foreach_div_(tensors, world_size())
    for work in [dist.all_reduce(tensor, async_op=True) for tensor in tensors]:
        work.wait()


def wrap(net, accumulate):
    """Returns `net` in DistributedDataParallel, which averages gradients in buckets during backward."""
    known = inspect.signature(DistributedDataParallel).parameters
    keep_buffers = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"  # torch < 2.13
    return DistributedDataParallel(net, gradient_as_bucket_view=True, static_graph=accumulate == 1,
                                   **{keep_buffers: False})


@contextlib.contextmanager
def averaging(networks, last):
    """Wraps forward and backward of one micro-batch; DDP averages gradients only in the `last` one."""
    with contextlib.ExitStack() as stack:
        for net in networks.values():
            if not last and isinstance(net, DistributedDataParallel):
                stack.enter_context(net.no_sync())
        yield


def gather(value):
    """Returns [value of rank 0, value of rank 1, ...] on every rank; values must be picklable."""
    if world_size() == 1:
        return [value]
    values = [None] * world_size()
    dist.all_gather_object(values, value, group=_host_group)
    return values


def largest(number):
    """Returns the largest of the ranks' integers. It uses the host group and does not wait for the device."""
    if world_size() == 1:
        return number
    found = torch.tensor(number)
    dist.all_reduce(found, dist.ReduceOp.MAX, group=_host_group)
    return int(found)


def share_from_main(tensors):
    """Overwrites tensors (on the device) with rank 0's values."""
    if world_size() > 1:
        for work in [dist.broadcast(tensor.detach(), 0, async_op=True) for tensor in tensors]:
            work.wait()


def from_main(job):
    """Runs job() on rank 0 only and returns its result on every rank; a UserError is raised on every rank."""
    result, failure = None, None
    if is_main():
        try:
            result = job()
        except UserError as error:
            failure = (str(error), error.status)
    result, failure = gather((result, failure))[0]
    if failure:
        raise UserError(*failure)
    return result


def main_first(job):
    """Runs job() on rank 0, then on the other ranks, which find the files that rank 0 has written."""
    mine = []
    from_main(lambda: mine.append(job()))
    return mine[0] if is_main() else job()


def launch_id():
    """Returns an identifier of the launch; it stays the same when torchrun restarts the ranks."""
    return f"{os.environ.get('TORCHELASTIC_RUN_ID', '')}:{os.uname().nodename}:{os.getppid()}"


def restarted():
    """Returns whether torchrun (--max-restarts) restarted this process after a failure."""
    return launched() and number("TORCHELASTIC_RESTART_COUNT", 0) > 0


LOST_CONTACT_WORDS = ("connection", "timed out", "timeout", "peer", "abort")  # in gloo's, NCCL's and HCCL's errors


def lost_contact(error):
    """Returns whether `error` is a RuntimeError that came from the connection to another rank."""
    text = str(error).lower() if isinstance(error, RuntimeError) else ""
    return dist.is_initialized() and any(word in text for word in LOST_CONTACT_WORDS)


def explained(error):
    """Returns a UserError if another process caused the RuntimeError, otherwise the error itself."""
    untouched = "Earlier checkpoints are intact; go on with --continue_train."
    if lost_contact(error):
        return UserError(f"rank {rank()} has lost contact with the other ranks: one of them ended, or did not answer "
                         f"within --dist_timeout ({first_line(error)}). {untouched}", status=LOST_CONTACT)
    return error
