# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Paths of the project, its reference outputs, and the real faces beside it."""
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests/fixtures"
SIMULATED_NPU = ROOT / "tests/npusim/site"  # on PYTHONPATH it makes a torch_npu importable
SHARED = ROOT.parent / "shared/data"  # real faces and public weights; tests that need them skip if absent
SIMULATED_APEX = ROOT / "tests/npusim/site_apex"  # stand-in for Ascend's apex
