"""Data-parallel training: a thin layer over torch.distributed, started by torchrun, the same for one process.

    torchrun --nproc_per_node=8 newtrain.py --dataroot FACES ...

Every function also works in a single process without a group, as if it were the only rank. There are two groups:
the device's own (hccl, nccl, gloo on a CPU) carries gradients; `gloo` carries the host's words (objects, whether to
stop), so that asking for them never waits for the device, and a rank that died is noticed by its closed connection.
"""
import contextlib
import importlib
import inspect
import os
import sys
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

import utils.device
from utils.errors import LOST_CONTACT, UserError, first_line

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # set by torchrun

_host_group = None


def launched():
    """Whether this process is one of torchrun's. UserError where only some of its variables are set."""
    missing = [name for name in VARIABLES if name not in os.environ]
    if "RANK" not in os.environ and "LOCAL_RANK" not in os.environ:
        return False
    if missing:
        raise UserError(f"the environment looks like one of several processes, but {', '.join(missing)} is not set: "
                        f"start with `torchrun --nproc_per_node=N newtrain.py ...`, which sets "
                        f"{', '.join(VARIABLES)}.")
    return True


def join_ranks(options):
    """This process's device, ready for use; the ranks of a torchrun have found each other.

    options: device, device_id, dist_timeout. UserError for a device that is not there or ranks that do not answer.
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
    """Join the other ranks. UserError when they cannot be reached within the timeout."""
    global _host_group
    timeout = timedelta(seconds=timeout_seconds)
    # Its functions' default arguments hold the group that exists when it is first imported (as torch.optim does),
    # beyond destroy_process_group: it must be there before the group.
    importlib.import_module("torch.distributed.nn.functional")
    try:
        dist.init_process_group(dist.get_default_backend_for_device(device), timeout=timeout, **_fresh_store(timeout))
        _host_group = dist.group.WORLD if device.type == "cpu" else dist.new_group(backend="gloo", timeout=timeout)
        dist.barrier(group=_host_group)
    except (RuntimeError, ValueError) as error:  # DistStoreError, DistNetworkError are RuntimeErrors
        where = ":".join(os.environ[name] for name in ("MASTER_ADDR", "MASTER_PORT"))
        raise UserError(f"rank {os.environ['RANK']} of {os.environ['WORLD_SIZE']} could not join the others at {where} "
                        f"within {timeout_seconds:g} s (--dist_timeout): {first_line(error)}", status=1) from None


def _fresh_store(timeout):
    """init_process_group's arguments with which restarted ranks do not meet at addresses of those that are gone.

    torchrun's agent keeps its store over a restart (torch 2.13), and with it what the ranks before had written. Only
    on one node: the count of restarts is each agent's own.
    """
    if not restarted() or os.environ.get("LOCAL_WORLD_SIZE") != os.environ["WORLD_SIZE"]:
        return {}
    store, rank, ranks = next(dist.rendezvous("env://", timeout=timeout))
    return {"store": dist.PrefixStore(f"restart_{os.environ['TORCHELASTIC_RESTART_COUNT']}", store), "rank": rank,
            "world_size": ranks}


@contextlib.contextmanager
def session():
    """Around a whole program: leaves the group at its end; an end that other processes caused is a UserError."""
    global _host_group
    try:
        yield
    except RuntimeError as error:
        raise explained(error) from None
    if dist.is_initialized():  # after a failure there is nobody to take leave of
        dist.destroy_process_group()
        _host_group = None


def leave(status):
    """End this process with `status`: as usual, or at once from within a group that failed.

    An interpreter that ends while gloo's threads live is aborted (SIGABRT, torch 2.13), whatever its status was.
    """
    if dist.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status or 0)
    sys.exit(status)


def rank():
    return dist.get_rank() if dist.is_initialized() else 0


def world_size():
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main():
    """Whether this is rank 0, the only one that writes files and logs."""
    return rank() == 0


def average_(tensors):
    """Replace each of the device's tensors by its mean over the ranks.

    Divided before they are added up, as DistributedDataParallel does: half numbers then overflow no earlier than
    on one device.
    """
    if world_size() == 1 or not tensors:
        return
    torch._foreach_div_(tensors, world_size())
    for work in [dist.all_reduce(tensor, async_op=True) for tensor in tensors]:
        work.wait()


def wrap(net, accumulate):
    """`net` behind DistributedDataParallel, which averages gradients in buckets while backward still runs."""
    known = inspect.signature(DistributedDataParallel).parameters
    keep_buffers = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"  # torch < 2.13
    return DistributedDataParallel(net, gradient_as_bucket_view=True, static_graph=accumulate == 1,
                                   **{keep_buffers: False})


@contextlib.contextmanager
def averaging(networks, last):
    """Around forward and backward of one micro-batch: only the `last` one's gradients make DDP talk."""
    with contextlib.ExitStack() as stack:
        for net in networks.values():
            if not last and isinstance(net, DistributedDataParallel):
                stack.enter_context(net.no_sync())
        yield


def gather(value):
    """[value of rank 0, value of rank 1, ...] on every rank; values may be anything that pickles."""
    if world_size() == 1:
        return [value]
    values = [None] * world_size()
    dist.all_gather_object(values, value, group=_host_group)
    return values


def largest(number):
    """The largest of the ranks' whole numbers. A word between hosts: the device is not waited for."""
    if world_size() == 1:
        return number
    found = torch.tensor(number)
    dist.all_reduce(found, dist.ReduceOp.MAX, group=_host_group)
    return int(found)


def share_from_main(tensors):
    """Overwrite the device's tensors by rank 0's."""
    if world_size() > 1:
        for work in [dist.broadcast(tensor.detach(), 0, async_op=True) for tensor in tensors]:
            work.wait()


def from_main(job):
    """What job() returns on rank 0, the only one to run it, on every rank; a UserError of it, too."""
    result, refusal = None, None
    if is_main():
        try:
            result = job()
        except UserError as error:
            refusal = (str(error), error.status)
    result, refusal = gather((result, refusal))[0]
    if refusal:
        raise UserError(*refusal)
    return result


def main_first(job):
    """job() on rank 0, then on the others: what the first has left on the disk, the others find."""
    mine = []
    from_main(lambda: mine.append(job()))
    return mine[0] if is_main() else job()


def launch_id():
    """What stays the same when torchrun restarts the ranks of one launch, and differs between launches."""
    return f"{os.environ.get('TORCHELASTIC_RUN_ID', '')}:{os.uname().nodename}:{os.getppid()}"


def restarted():
    """Whether torchrun (--max-restarts) started this process in place of one that failed."""
    return launched() and int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0


def explained(error):
    """The UserError to raise in place of a RuntimeError that another process caused; otherwise the error itself."""
    untouched = "Checkpoints up to here are untouched; go on with --continue_train."
    text = str(error).lower()
    if "dataloader worker" in text:
        return UserError(f"a process that prepares batches ended: {first_line(error)} Is there enough memory (free, "
                         f"/dev/shm)? Fewer --workers need less. {untouched}", status=1)
    if dist.is_initialized() and any(word in text for word in ("connection", "timed out", "timeout", "peer", "abort")):
        return UserError(f"rank {rank()} has lost contact with the other ranks: one of them ended, or did not answer "
                         f"within --dist_timeout ({first_line(error)}). {untouched}", status=LOST_CONTACT)
    return error
