# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Ascend's apex, NVIDIA's, PyPI's, and one that cannot be imported are told apart, and the log names what runs."""
import importlib
import sys

import pytest
import torch

import utils.device
from tests.helpers.paths import SIMULATED_APEX
from utils.apex_package import find_apex


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Returns install(files): writes {path: source} of a package apex 0.1 and puts it on the path for this test."""
    def forget():
        find_apex.cache_clear()
        for name in [n for n in sys.modules if n.split(".")[0] == "apex"]:
            del sys.modules[name]

    def install(files):
        for name, source in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)
        metadata = tmp_path / "apex-0.1.dist-info/METADATA"
        metadata.parent.mkdir()
        metadata.write_text("Metadata-Version: 2.1\nName: apex\nVersion: 0.1\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        importlib.invalidate_caches()
        forget()
    forget()
    yield install
    forget()


def banner(monkeypatch, **options):
    monkeypatch.setattr(torch, "get_device_module", lambda device: utils.device)
    monkeypatch.setattr(utils.device, "get_device_name", lambda device: "Ascend", raising=False)
    return utils.device.banner(type("Device", (), {"type": "npu", "__str__": lambda self: "npu:0"})(), "O2",
                               torch.float16, 3, **options)


ASCEND = {"apex/__init__.py": "", "apex/amp.py": "initialize = scale_loss = None",
          "apex/optimizers/__init__.py": "", "apex/optimizers/npu_fused_adam.py": ""}


@pytest.mark.parametrize("files, reason", [
    ({"apex/__init__.py": "raise RuntimeError('not to be imported')", "apex/optimizers/__init__.py": "",
      "apex/optimizers/fused_adam.py": ""}, "the installed apex 0.1 is NVIDIA's, not Ascend's"),
    ({"apex/__init__.py": "print 'Python 2'", "apex/models.py": ""},
     "the installed apex 0.1 is an unrelated package of that name, not Ascend's"),
    ({"apex.py": "raise RuntimeError('not to be imported')"},
     "the installed apex 0.1 is an unrelated package of that name, not Ascend's"),
    (ASCEND | {"apex/amp.py": "raise ImportError('libascendcl.so: cannot open\\nshared object')"},
     "Ascend's apex 0.1 cannot be imported (ImportError: libascendcl.so: cannot open)"),
    (ASCEND | {"apex/__init__.py": "import torch; torch.no_such_thing"},
     "Ascend's apex 0.1 cannot be imported (AttributeError: module 'torch' has no attribute 'no_such_thing')"),
    (ASCEND, "Ascend's apex 0.1 cannot be imported (ImportError: apex.optimizers has no NpuFusedAdam)")])
def test_an_apex_that_cannot_be_used_is_named_with_the_reason(install, monkeypatch, files, reason):
    install(files)
    assert find_apex() == (None, "0.1", reason)
    first, second = banner(monkeypatch, trains=True).splitlines()
    assert "| precision O2 with float16 by utils/amp.py | torch" in first
    assert second == f"warning: {reason}: utils/amp.py does the mixed precision instead."
    assert banner(monkeypatch).count("\n") == 0 and "utils/amp.py" not in banner(monkeypatch)  # restoring uses none


def test_no_apex_is_not_worth_a_line(install, monkeypatch):
    assert find_apex() == (None, "", "")
    assert "by utils/amp.py | torch" in banner(monkeypatch, trains=True)
    assert "\n" not in banner(monkeypatch, trains=True)


def test_ascends_apex_is_found(install, monkeypatch):
    monkeypatch.syspath_prepend(str(SIMULATED_APEX))
    assert find_apex().module is sys.modules["apex"] and find_apex().refusal == ""
    assert "O2 with float16 by Ascend's apex 0.1+simulated | torch" in banner(monkeypatch, trains=True)
