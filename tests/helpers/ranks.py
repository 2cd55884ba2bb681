"""Ranks of a training without an interpreter's start each: forks of one process that has imported everything.

They get what torchrun sets (utils/distributed.py: VARIABLES). torchrun itself is started
by tests/utils/test_distributed.py and by the tests of the scripts.
"""
import multiprocessing
import os
import runpy
import socket
import sys

import torch

from tests.helpers.paths import ROOT
from tests.helpers.processes import HUNG

# A server, not a fork of this process: autograd refuses to work in forks of a process in which an NPU was registered.
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["engine.trainer", "torch._dynamo", "torch.utils.tensorboard", "matplotlib.pyplot",
                                 "torch.distributed.nn.functional"])


def run_program(count, logs, program, *words):
    """What `count` ranks of a program (newtrain.py, newtest.py) print, one thread each; files of it go into `logs`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    logs.mkdir(parents=True, exist_ok=True)
    files = [logs / f"{port}_{rank}.txt" for rank in range(count)]
    processes = [_context.Process(target=_be_rank, args=(rank, count, port, file, program, list(map(str, words))))
                 for rank, file in enumerate(files)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(HUNG)
    out = "".join(file.read_text() for file in files)
    still_there = [process for process in processes if process.is_alive()]
    for process in still_there:
        process.kill()
    assert not still_there and not any(process.exitcode for process in processes), out
    return out


def _be_rank(rank, count, port, file, program, words):
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(count), LOCAL_WORLD_SIZE=str(count),
                      MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), TORCHELASTIC_RUN_ID=str(port))
    with open(file, "w") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    torch.set_num_threads(1)
    multiprocessing.set_start_method("fork", force=True)  # the loader's workers; it would be the server's own way here
    os.chdir(ROOT)
    sys.argv = [program, *words]
    runpy.run_path(str(ROOT / program), run_name="__main__")
