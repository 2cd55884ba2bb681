# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""What the CPU can do. Everything that depends on it asks `processor`; tests replace that function."""
import functools
import platform
from pathlib import Path
from typing import NamedTuple

import torch

CPUINFO = Path("/proc/cpuinfo")
# {ability: names in torch.cpu.get_capabilities() and in Linux's /proc/cpuinfo}, of x86 and ARM.
ABILITIES = {
    "AVX2": {"avx2"}, "AVX-512": {"avx512_f", "avx512f"}, "VNNI": {"avx512_vnni", "avx_vnni"},
    "NEON": {"neon", "asimd"}, "SVE": {"sve"}, "i8mm": {"i8mm"},
    "bf16": {"avx512_bf16", "bf16", "sve_bf16", "svebf16"}, "AMX": {"amx_bf16"}}
# Abilities that torch leaves unused at a level of ATen's vector code, e.g. below ATEN_CPU_CAPABILITY=avx2. oneDNN's
# convolutions do not obey that variable, but whoever sets it wants the choices for an older processor.
ABOVE = {"DEFAULT": {"AVX2", "AVX-512", "VNNI", "bf16", "AMX"}, "AVX2": {"AVX-512", "VNNI", "bf16", "AMX"}}


class Processor(NamedTuple):
    """A CPU: its name, and those of ABILITIES that torch uses."""
    name: str
    abilities: tuple

    @property
    def has_vectors(self):
        """Whether it computes with vectors of at least 8 numbers (x86) or 4 (ARM)."""
        return not {"AVX2", "AVX-512", "NEON"}.isdisjoint(self.abilities)

    @property
    def has_bf16(self):
        """Whether it multiplies bfloat16 numbers. Without such instructions mixed precision is slower than float32."""
        return not {"bf16", "AMX"}.isdisjoint(self.abilities)

    def __str__(self):
        return ", ".join([self.name, *self.abilities, *([] if self.has_bf16 else ["no bf16"])])


@functools.cache
def processor():
    """Returns this machine's Processor."""
    lines = CPUINFO.read_text(encoding="utf-8").splitlines() if CPUINFO.exists() else []
    return describe(_capabilities(lines), torch.backends.cpu.get_cpu_capability(), lines)


def describe(flags, level, lines=()):
    """Returns the Processor with these flags (names in ABILITIES). level: ATen's vector code; lines: of /proc/cpuinfo.

    An ARM processor uses NEON at ATen's level DEFAULT, too.
    """
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    arm = not flags.isdisjoint(ABILITIES["NEON"])
    unused = set() if arm else ABOVE.get(level, set())
    abilities = tuple(name for name, of_name in ABILITIES.items()
                      if name not in unused and not flags.isdisjoint(of_name))
    return Processor(names[0] if names else platform.processor() or platform.machine(), abilities)


def _capabilities(lines):
    """Returns the names of the instructions that this CPU has. Older versions of torch do not list them."""
    if hasattr(torch.cpu, "get_capabilities"):
        return {name for name, has in torch.cpu.get_capabilities().items() if has is True}
    return {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.partition(":")[2].split()}
