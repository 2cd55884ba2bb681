# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Training, resuming, validating and restoring on the simulated NPU. Tests device handling, not Ascend's numerics."""
import os
import re
import subprocess

import pytest
import torch

import utils.device
from engine.logger import read_metrics
from tests.helpers.paths import ROOT
from tests.helpers.runs import TINY, same, state, whole_and_parts
from tests.helpers.scripts import CLOSING_BLOCK, SIMULATED, Checkout
from tests.helpers.warm_python import warm_python
from utils.errors import UserError


def test_o0_equals_the_cpu_bit_for_bit(npu, train, same_rounding):
    words = ["--train_steps", 5, "--opt_level", "O0", "--val_count", 2, "--ema_decay", "0.9"]
    cpu, simulated = (train(*words, "--device", d, name=d)[1] for d in ("cpu", "npu:3"))
    for part in ("networks", "ema", "optimizers"):
        assert same(state(cpu)[part], state(simulated)[part]) == ""
    assert [r.get("Loss_Pix", r.get("psnr")) for r in read_metrics(cpu)] == [
        r.get("Loss_Pix", r.get("psnr")) for r in read_metrics(simulated)]
    assert "aten::convolution_backward_overrideable" in torch.npu.ops_seen()


def test_o2_float16_on_the_npu_follows_o0(npu, train, capsys):
    words = ["--train_steps", 12, "--device", "npu", "--lr", "1e-3"]
    half = train(*words, name="half")[1]
    out = capsys.readouterr().out
    assert "precision O2 with float16" in out and "scale 128 skipped 0" in out  # the default on an NPU
    full = train(*words, "--opt_level", "O0", name="full")[1]
    a, b = ([r["Loss_Pix"] for r in read_metrics(f)] for f in (half, full))
    assert a != b and a == pytest.approx(b, abs=5e-3)


def test_resume_on_the_npu_is_exact_and_may_move_to_the_cpu(npu, train, monkeypatch):
    words = ["--train_steps", 6, "--device", "npu"]
    whole, folder = whole_and_parts(train, monkeypatch, 4, *words)
    parts = state(folder)
    for part in ("networks", "optimizers"):
        assert same(whole[part], parts[part]) == ""
    assert train("--train_steps", 8, "--device", "cpu", "--continue_train", name="parts")[0] == 0


def test_auto_takes_the_npu_and_device_numbers_are_checked(npu, monkeypatch):
    assert utils.device.pick_device("auto") == torch.device("npu", 0)
    monkeypatch.setenv("ASCEND_DEVICE_ID", "5")
    assert utils.device.pick_device("npu") == torch.device("npu", 5)
    assert utils.device.pick_device("npu", 2) == torch.device("npu", 2)
    with pytest.raises(UserError, match="npu:8 does not exist: this machine shows 8"):
        utils.device.pick_device("npu:8")
    assert utils.device.default_opt_level(torch.device("npu")) == "O2"


def test_mixing_devices_fails(npu, train, monkeypatch):
    from engine import trainer
    monkeypatch.setattr(trainer, "to_device", lambda batch, device: {
        n: v.permute(0, 3, 1, 2).float() for n, v in batch.items() if torch.is_tensor(v)})
    with pytest.raises(RuntimeError, match="(?i)device|Input type .* and weight type"):
        train("--device", "npu", "--train_steps", 1, "--opt_level", "O0")


def program(*words):
    done = subprocess.run([warm_python(), *map(str, words)], capture_output=True, text=True, cwd=ROOT,
                          env=os.environ | SIMULATED)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_programs_with_npu_fused_adam(npu, tmp_path, faces):
    """As on an NPU server: torch_npu (here a stand-in) is importable, --device auto finds it, NpuFusedAdam is used."""
    tiny = [w for w in TINY if w not in ("--device", "cpu")]
    common = [*tiny, "--dataroot", faces, "--checkpoints_dir", tmp_path, "--val_count", 2]
    out = program("newtrain.py", *common, "--train_steps", 6, "--name", "a")
    assert "Device: npu:0 (" in out and "precision O2 with float16" in out
    saved = state(tmp_path / "a")["optimizers"]["G"]
    assert saved["shared"]["step"] == 6
    out = program("newtrain.py", *common, "--train_steps", 8, "--name", "a", "--continue_train")
    assert "Continuing after step 6" in out
    assert state(tmp_path / "a")["optimizers"]["G"]["shared"]["step"] == 8
    out = program("newtest.py", "--pth_path", tmp_path / "a/best_net_G.pth", "--gtroot", faces,
                  "--results_dir", tmp_path / "results")
    assert "Device: npu:0" in out and re.search(r"^Accuracy: [\d.]+ dB", out, re.M)


@pytest.mark.parametrize("name", ["train_full_1p.sh", "train_performance_1p.sh"])
def test_the_modelzoo_scripts_on_the_npu(npu, tmp_path, name):
    checkout = Checkout(tmp_path)
    done = checkout.finish(checkout.start(
        "bash", f"my repo/test/{name}", f"--data_path={checkout.faces}", "--preset=tiny.yml", "--workers=0",
        "--train_steps=12", "--device_id=1", **SIMULATED))
    assert done.status == 0, done.out + done.err
    assert "Device: npu:1" in done.out and "precision O2 with float16" in done.out
    assert CLOSING_BLOCK.search(done.out)
    kind = "acc" if "full" in name else "perf"
    assert (checkout.repo / f"test/output/1/my repo_bs2_1p_{kind}.log").is_file()
