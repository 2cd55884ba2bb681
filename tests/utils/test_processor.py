# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""utils/processor.py: what a CPU can do, from what torch and Linux say of it."""
import ast
import os
import subprocess
import sys

import pytest
import torch

import utils.processor
from tests.helpers.paths import ROOT
from utils.processor import describe

MILAN = {"avx2", "fma3", "avx"}
ICE_LAKE = MILAN | {"avx512_f", "avx512_vnni"}
SAPPHIRE = ICE_LAKE | {"avx512_bf16", "amx_tile", "amx_bf16", "amx_int8"}
KUNPENG_920 = {"neon", "fp16_arith", "dot"}
KUNPENG_930 = KUNPENG_920 | {"sve", "bf16", "i8mm", "sve_bf16"}


@pytest.mark.parametrize("flags, level, abilities, bf16", [
    (MILAN, "AVX2", "AVX2", False), (ICE_LAKE, "AVX512", "AVX2 AVX-512 VNNI", False),
    (SAPPHIRE, "AVX512", "AVX2 AVX-512 VNNI bf16 AMX", True), (SAPPHIRE, "AVX2", "AVX2", False),
    (SAPPHIRE, "DEFAULT", "", False), (KUNPENG_920, "DEFAULT", "NEON", False),
    (KUNPENG_930, "SVE256", "NEON SVE i8mm bf16", True), (KUNPENG_930, "DEFAULT", "NEON SVE i8mm bf16", True),
    ({"asimd", "svebf16", "sve"}, "SVE256", "NEON SVE bf16", True), (set(), "DEFAULT", "", False)])
def test_abilities_of_known_processors(flags, level, abilities, bf16):
    found = describe(flags, level, ["model name\t: X 1"])
    assert (" ".join(found.abilities), found.has_bf16, found.name) == (abilities, bf16, "X 1")
    assert str(found) == ", ".join(["X 1", *abilities.split()] + ["no bf16"] * (not bf16))


def test_a_torch_that_does_not_list_them(monkeypatch, tmp_path):
    """Linux's own list has other names for some."""
    (tmp_path / "cpuinfo").write_text("model name : Y\nflags : avx2 avx512f avx512_bf16\nmodel name : Y\n")
    monkeypatch.setattr(utils.processor, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    lines = (tmp_path / "cpuinfo").read_text().splitlines()
    assert utils.processor._capabilities(lines) == {"avx2", "avx512f", "avx512_bf16"}
    assert describe(utils.processor._capabilities(lines), "AVX512", lines).abilities == ("AVX2", "AVX-512", "bf16")


def test_this_processor_obeys_atens_variable():
    done = subprocess.run([sys.executable, "-c", "from utils.processor import processor as p; print(p().abilities)"],
                          cwd=ROOT, env=os.environ | {"ATEN_CPU_CAPABILITY": "default"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {"AVX2", "bf16", "AMX"}.isdisjoint(ast.literal_eval(done.stdout)) or "NEON" in done.stdout
