"""Where the project, its reference outputs and the real faces beside it are."""
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests/fixtures"
SIMULATED_NPU = ROOT / "tests/npusim/site"  # on PYTHONPATH: a process finds a torch_npu
SHARED = ROOT.parent / "shared/data"  # real faces and public weights; tests that want them skip without
