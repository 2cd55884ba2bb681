# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Starts the ranks of a training without torchrun; sets the variables that it sets (VARIABLES in utils/distributed.py).

tests/utils/test_distributed.py and the tests of the scripts start torchrun itself.
"""
import contextlib
import os
import random
import socket
import subprocess

from tests.helpers.paths import ROOT
from tests.helpers.processes import HUNG
from tests.helpers.warm_python import warm_python


def free_port():
    """Returns a free TCP port, below the range that the kernel uses for outgoing connections."""
    while True:
        port = random.SystemRandom().randrange(10000, 30000)
        with socket.socket() as trial, contextlib.suppress(OSError):
            trial.bind(("127.0.0.1", port))
            return port


def run_program(count, logs, program, *words):
    """Runs `count` ranks of newtrain.py or newtest.py, one thread each; returns their output, also kept in `logs`."""
    port = free_port()
    logs.mkdir(parents=True, exist_ok=True)
    files = [logs / f"{port}_{rank}.txt" for rank in range(count)]
    processes = []
    for rank, file in enumerate(files):
        variables = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count,
                     "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": port, "OMP_NUM_THREADS": 1}
        with open(file, "w") as stream:
            processes.append(subprocess.Popen(
                [warm_python(), program, *map(str, words)], cwd=ROOT, stdout=stream, stderr=stream,
                env=os.environ | {name: str(value) for name, value in variables.items()}))
    try:
        statuses = [process.wait(HUNG) for process in processes]
    finally:
        for process in processes:
            process.kill()
    out = "".join(file.read_text() for file in files)
    assert not any(statuses), out
    return out
