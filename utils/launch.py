# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""torchrun for the scripts of test/: the same options and engine, with readable error messages.

    python -m utils.launch --standalone --nproc_per_node=8 --log-dir=FOLDER --redirects=1:3,2:3 newtrain.py ...

If a rank fails, it names the rank that failed first, shows that rank's last lines instead of torchrun's traceback, and
exits with that rank's status. If a signal stops the launch, torchrun forwards it to the ranks, and the exit status is
128 plus the signal's number. If the launch itself is killed, the ranks end (utils/started_by.py).
"""
import os
import signal
import sys
from collections import deque
from pathlib import Path

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import parse_args, run

from utils.errors import LOST_CONTACT
from utils.signals import exit_status
from utils.started_by import STARTED_BY, end_with_starters

SHOWN = 15  # lines
# Exit codes of ranks that ended because another rank failed.
CONSEQUENCES = (LOST_CONTACT, exit_status(signal.SIGTERM), -signal.SIGTERM)


def first_failure(failures):
    """Returns (rank, failure) of the root cause among torchrun's {rank: ProcessFailure}."""
    return min(failures.items(), key=lambda item: (item[1].exitcode in CONSEQUENCES, item[1].timestamp, item[0]))


def last_lines(log_dir, local_rank):
    """Returns the last lines of a rank's newest stdout.log and stderr.log in `log_dir`, or []."""
    paths = [path for name in ("stdout.log", "stderr.log")
             for path in Path(log_dir or ".").glob(f"*/attempt_*/{local_rank}/{name}") if log_dir]
    if not paths:
        return []
    newest = max(path.stat().st_mtime for path in paths)
    attempt = next(path for path in paths if path.stat().st_mtime == newest).parent
    return [line.rstrip() for name in ("stdout.log", "stderr.log") if (attempt / name).exists()
            for line in deque(open(attempt / name, encoding="utf-8", errors="replace"), SHOWN)]


def main(argv):
    options = parse_args(argv)
    end_with_starters()
    os.environ[STARTED_BY] = f"{os.environ.get(STARTED_BY, '')} {os.getpid()}"  # the ranks inherit it
    try:
        run(options)
    except ChildFailedError as error:
        rank, failure = first_failure(error.failures)
        code = failure.exitcode
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"failed with exit status {code}"
        lines = last_lines(options.log_dir, failure.local_rank)
        if lines:
            print(f"---- the last lines of rank {rank} ----", *lines, sep="\n", file=sys.stderr)
        print(f"error: rank {rank} (process {failure.pid}) {how}; the other ranks were ended, too.", file=sys.stderr)
        return code if code > 0 else exit_status(-code)
    except SignalException as stop:
        return exit_status(stop.sigval)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
