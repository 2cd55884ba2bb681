# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Reports the environment variables at each program's first import of torch, without loading torch.

    python tests/helpers/first_torch.py VARIABLES TARGETS        (both JSON lists; the project is on PYTHONPATH)

A target is a script (PATH.py), a module to run (-m NAME) or a package to import (NAME). Prints one JSON line per
target: [target, whether it imported torch, {variable: value}]. Each target runs in a fork of this process.
"""
import importlib
import json
import os
import runpy
import sys
import traceback

import numpy  # noqa: F401 (imported once for all forks)
import PIL.Image  # noqa: F401


class FirstTorch:
    """An import finder that reports and ends the process at the first import of torch."""

    def __init__(self, report):
        self.report = report

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            self.report(True)
            os._exit(0)


def run(target):
    if target.startswith("-m "):
        runpy.run_module(target[3:], run_name="__main__", alter_sys=True)
    elif target.endswith(".py"):
        sys.path.insert(0, os.path.dirname(target))  # as `python PATH.py` does
        runpy.run_path(target, run_name="__main__")
    else:
        importlib.import_module(target)


def main():
    variables, targets = map(json.loads, sys.argv[1:])
    assert "torch" not in sys.modules
    del sys.path[0]  # this folder
    output = os.dup(1)
    for target in targets:
        if pid := os.fork():
            os.waitpid(pid, 0)
            continue

        def report(reached, target=target):
            line = [target, reached, {name: os.environ.get(name) for name in variables}]
            os.write(output, (json.dumps(line) + "\n").encode())

        os.dup2(2, 1)
        sys.argv = [target, "--help"]  # for targets that do not import torch: they end early
        sys.meta_path.insert(0, FirstTorch(report))
        try:
            run(target)
        except SystemExit:
            pass
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        report(False)
        os._exit(0)


if __name__ == "__main__":
    main()
