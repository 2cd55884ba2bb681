# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Builds stub CANN libraries, so that the torch_npu wheel can be imported without CANN.

    python make_stub_libraries.py FOLDER        (run by a Python that has torch and torch_npu)
    LD_LIBRARY_PATH=FOLDER TORCH_DEVICE_BACKEND_AUTOLOAD=0 python -c "import torch, torch_npu"

Lists the undefined symbols of the wheel's libraries (nm) and compiles a function that returns 0 for each. This is
enough to inspect names and signatures. There is no device: aclrtGetDeviceCount gives 0. Needs gcc and nm.
"""
import importlib.util
import subprocess
import sys
from pathlib import Path

# Libraries that the wheel's libraries need. The first contains the functions, the others are empty.
LIBRARIES = ("libascendcl.so", "libhccl.so", "libacl_op_compiler.so", "libge_runner.so", "libgraph.so",
             "libacl_tdt_channel.so", "libascend_ml.so")
SYSTEM = ("libc.so.6", "libm.so.6", "libstdc++.so.6", "libgcc_s.so.1", "libpthread.so.0", "libdl.so.2",
          "ld-linux-x86-64.so.2")
# Functions whose result is used during import.
OWN = {
    "aclrtGetDeviceCount": "int aclrtGetDeviceCount(uint32_t *n) { *n = 0; return 0; }",
    "aclrtGetSocName": 'const char *aclrtGetSocName(void) { return "Ascend910B1"; }',
    "aclGetRecentErrMsg": 'const char *aclGetRecentErrMsg(void) { return ""; }',
}


def symbols(library, defined):
    """Returns names of the dynamic symbols that `library` defines, or needs (except weak ones)."""
    option = "--defined-only" if defined else "--undefined-only"
    text = subprocess.run(["nm", "-D", option, str(library)], capture_output=True, text=True).stdout
    rows = [line.split() for line in text.splitlines() if line.strip()]
    return {row[-1].split("@")[0] for row in rows if defined or row[-2] not in "wv"}


def package_folder(name):
    """Returns the folder of an installed package without importing it (torch_npu cannot be imported yet)."""
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise SystemExit(f"{name} is not installed for {sys.executable}")
    return Path(spec.origin).parent


def missing_symbols():
    torch, torch_npu = package_folder("torch"), package_folder("torch_npu")
    wheel = [*torch_npu.glob("_C*.so"), *torch_npu.glob("lib/*.so")]
    wheel = [library for library in wheel if "atb" not in library.name]  # loaded on demand only
    system = [Path("/lib/x86_64-linux-gnu") / name for name in SYSTEM]
    providers = [lib for lib in [*wheel, *torch.glob("lib/*.so*"), *system] if lib.exists()]
    have = set().union(*(symbols(lib, True) for lib in providers))
    need = set().union(*(symbols(lib, False) for lib in wheel))
    return sorted(name for name in need - have if not name.startswith(("Py", "_Py")))


def main(folder):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["#include <stdint.h>"]
    for i, name in enumerate(missing_symbols()):
        lines.append(OWN.get(name) or f'long s{i}(void) __asm__("{name}"); long s{i}(void) {{ return 0; }}')
    for library in LIBRARIES:
        source = "\n".join(lines) + "\n" if library == LIBRARIES[0] else ""
        command = ["gcc", "-O1", "-fPIC", "-shared", f"-Wl,-soname,{library}", "-o", str(folder / library)]
        subprocess.run([*command, "-x", "c", "-"], input=source, text=True, check=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(sys.argv[1])
