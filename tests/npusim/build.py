# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Compiles npusim.cpp once per version of torch, Python and source, and loads it.

The library is kept in the repository's .cache/npusim, or in the folder NPUSIM_BUILD (environment variable).
Several processes may load it at once: one compiles (about 30 seconds), the others wait.
"""
import contextlib
import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
SOURCES = (HERE / "npusim.cpp", HERE / "device.h")
NAME = "npusim_C"


class NoCompiler(RuntimeError):
    """The simulated NPU cannot be built: there is no C++ compiler."""


def load_extension():
    """Returns the compiled module. Raises NoCompiler, or RuntimeError with the compiler's messages."""
    folder = Path(os.environ.get("NPUSIM_BUILD") or HERE.parents[1] / ".cache" / "npusim")
    text = "".join([torch.__version__, sys.version, *(source.read_text() for source in SOURCES)])
    library = folder / f"{NAME}_{hashlib.sha256(text.encode()).hexdigest()[:16]}.so"
    if not library.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / "lock"):
            if not library.exists():  # another process may have built it meanwhile
                _compile(library)
    spec = importlib.util.spec_from_file_location(NAME, library)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def _locked(path):
    with open(path, "w") as file:  # the kernel releases flock at exit: a killed build leaves no stale lock
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _compile(library):
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        raise NoCompiler("the simulated NPU needs a C++ compiler (g++ or clang++, or one named by CXX).")
    root = Path(torch.__file__).parent
    headers = [root / "include", root / "include/torch/csrc/api/include", sysconfig.get_paths()["include"]]
    unfinished = library.with_suffix(f".{os.getpid()}.tmp")
    command = [compiler, "-shared", "-fPIC", "-std=c++20", "-O1", f"-DTORCH_EXTENSION_NAME={NAME}",
               f"-D_GLIBCXX_USE_CXX11_ABI={int(torch._C._GLIBCXX_USE_CXX11_ABI)}",
               *(f"-I{h}" for h in headers), str(SOURCES[0]), f"-L{root / 'lib'}",
               "-ltorch", "-ltorch_cpu", "-lc10", "-ltorch_python", "-o", str(unfinished)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        unfinished.unlink(missing_ok=True)
        raise RuntimeError(f"building the simulated NPU failed:\n{' '.join(command)}\n{done.stderr[-4000:]}")
    os.replace(unfinished, library)
