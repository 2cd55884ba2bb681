# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""utils/device.py: only this file names accelerators, and it never falls back to another device silently."""
import re
from argparse import Namespace

import pytest
import torch

import utils.device
from tests.helpers.paths import ROOT
from utils.errors import UserError

SOURCES = [p for p in ROOT.rglob("*.py")
           if not any(part.startswith(".") for part in p.relative_to(ROOT).parts)
           and p.relative_to(ROOT).parts[0] not in ("tests", "check_points", "results")]
NAMED = re.compile(r"\.cuda\(|\.npu\(|torch\.(cuda|npu)\b|torch_npu|transfer_to_npu|[\"'](cuda|npu)[\"':]")


def test_only_the_shim_names_accelerators():
    shim = ROOT / "utils/device.py"
    assert shim in SOURCES and len(SOURCES) > 40
    assert NAMED.search(shim.read_text())
    for path in SOURCES:
        code = "\n".join(line.split("#")[0] for line in path.read_text().splitlines())
        assert path in (shim, shim.with_name("device_names.py")) or not NAMED.search(code), path


def test_layers_do_not_move_tensors():
    for path in (ROOT / "models").glob("*.py"):
        assert not re.search(r"\.to\((self\.)?(device|x)|device=", path.read_text()), path


def test_no_unsafe_loading_or_shell():
    for path in SOURCES:
        text = path.read_text()
        assert not re.search(r"\beval\(\w*\s*[\"']|os\.system|shell=True|yaml\.load\(", text), path
        assert all("weights_only=True" in call for call in re.findall(r"torch\.load\([^)]*\)", text)), path


def test_defaults_by_device():
    cpu, cuda = torch.device("cpu"), torch.device("cuda", 0)
    assert (utils.device.default_opt_level(cpu), utils.device.default_opt_level(cuda)) == ("O0", "O2")
    assert (utils.device.default_half(cpu), utils.device.default_half(cuda)) == (torch.bfloat16, torch.float16)
    assert utils.device.pick_device("cpu", 3) == cpu


@pytest.mark.parametrize(("kind", "abilities", "layout"), [
    ("cpu", ["AVX2"], torch.channels_last), ("cpu", ["AVX2", "AVX-512"], torch.channels_last),
    ("cpu", ["NEON"], torch.channels_last), ("cpu", [], torch.contiguous_format),
    ("cuda", [], torch.channels_last), ("npu", ["AVX2"], torch.contiguous_format)])
def test_layout_by_device_and_processor(kind, abilities, layout, processor):
    processor(*abilities)
    assert utils.device.memory_format(Namespace(type=kind)) == layout


def test_cuda_cards_are_counted(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert utils.device.pick_device("auto") == torch.device("cuda", 0)
    assert utils.device.pick_device("cuda", 1) == utils.device.pick_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(UserError, match=r"cuda:2 does not exist: this machine shows 2 cuda device\(s\)"):
        utils.device.pick_device("cuda", 2)
    with pytest.raises(UserError, match="--device cuda:1 and --device_id 0 both name a card"):
        utils.device.pick_device("cuda:1", 0)
    for name in ("cpu:1", "auto:1", "cuda:x"):
        with pytest.raises(UserError, match=f"--device {name}: unknown device"):
            utils.device.pick_device(name)


def test_ranks_take_the_card_of_their_place(monkeypatch):
    from utils import distributed
    for name in distributed.VARIABLES:
        monkeypatch.setenv(name, "1" if "SIZE" in name else "0")
    for device, card in (("cuda:1", None), ("auto", 1)):
        with pytest.raises(UserError, match="for one process; under torchrun each takes the card of its LOCAL_RANK"):
            distributed.join_ranks(Namespace(device=device, device_id=card, dist_timeout=1))


def test_fused_adam_is_used_and_the_banner_says_what_runs():
    optimizer = utils.device.adam([torch.zeros(2)], torch.device("cpu"), "O0", lr=0.1, betas=(0.9, 0.99))
    assert optimizer.param_groups[0]["fused"] and optimizer.param_groups[0]["betas"] == (0.9, 0.99)
    line = utils.device.banner(torch.device("cpu"), "O2", torch.bfloat16, 3)
    assert "cpu" in line and "O2 with bfloat16" in line and "3 workers" in line and torch.__version__ in line
    assert "precision float32" in utils.device.banner(torch.device("cpu"), "O0", torch.bfloat16, 3)
