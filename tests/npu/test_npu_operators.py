# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Checks that torch_npu 2.13 has a native kernel for every operator of a step; see also test_npu_recipes.py."""
import pytest
import torch

from tests.helpers.runs import SMALL_SPARNETHD, small_gpen


@pytest.fixture
def operators(npu):
    """Returns the module npusim.operators; the simulated devices are visible during this test only."""
    from npusim import operators
    return operators


def test_the_list(operators):
    names = operators.registered()
    assert len(names) == 1944 and sum(n.startswith("aten::") for n in names) == 1496
    assert "aten::convolution_overrideable" in names
    assert all(reason for reason in operators.EXCEPTIONS.values())
    assert not names & set(operators.EXCEPTIONS)  # a registered operator needs no exception
    assert "aten::threshold_backward" in names  # the reason of the exception in EXCEPTIONS
    assert names > operators.CPU_FALLBACKS and "aten::_fused_adamw_" in operators.native()


@pytest.mark.parametrize("words", [
    ["--opt_level", "O0"], ["--opt_level", "O1"],
    ["--opt_level", "O0", "--max_grad_norm", "1", "--ema_decay", "0.9", "--Gnorm", "in", "--att_name", "spar3d"],
    ["--opt_level", "O2", "--skips", "--pix_loss", "psnr", "--residual"],
])
def test_a_training_step_uses_native_operators(operators, train, words):
    def run():
        assert train("--device", "npu", "--train_steps", 2, "--val_count", 2, *words, name="".join(words)[2:9])[0] == 0
    assert operators.without_kernel(run) == []
    used = operators.operators_used(lambda: train("--device", "npu", "--train_steps", 1, *words, name="again"))
    for name in ("convolution_backward_overrideable", "reflection_pad2d_backward", "replication_pad2d_backward",
                 "native_batch_norm", "addcdiv.out", "copy_"):
        assert "aten::" + name in used


@pytest.fixture(scope="module")
def vgg19_path(tmp_path_factory):
    from models.vgg import VGG19Features
    path = tmp_path_factory.mktemp("vgg") / "vgg19.pth"
    torch.save(VGG19Features().state_dict(), path)
    return path


@pytest.mark.parametrize("words", [["--opt_level", "O0"], ["--opt_level", "O2", "--checkpointing"]])
def test_sparnethd_uses_native_operators(operators, train, words, vgg19_path):
    words = [*SMALL_SPARNETHD, *words, "--lambda_pcp", "1", "--vgg19_path", vgg19_path, "--train_steps", 1]

    def run():
        assert train("--device", "npu", "--val_count", 2, *words)[0] == 0
    assert operators.without_kernel(run) == []


@pytest.mark.parametrize("words", [
    ["--opt_level", "O0", "--stage", "prior"], ["--opt_level", "O2", "--lambda_id", "1"]])
def test_gpen_uses_native_operators(operators, faces, words, tmp_path):
    from engine.trainer import Trainer
    from models.face_embedding import MobileFaceNet
    from options.train_options import parse_train
    if "--lambda_id" in words:
        torch.save(MobileFaceNet().state_dict(), tmp_path / "embedding.pth")
        words = [*words, "--arcface_path", str(tmp_path / "embedding.pth")]

    def run():
        assert Trainer(parse_train(small_gpen(
            *words, "--device", "npu", "--dataroot", faces, "--checkpoints_dir", tmp_path, "--train_steps",
            1))).fit() == 0
    assert operators.without_kernel(run) == []


def test_an_operator_without_a_kernel_is_found(operators):
    x = torch.ones(2, 2, device="npu")
    assert operators.without_kernel(lambda: torch.special.bessel_j0(x)) == ["aten::special_bessel_j0.out"]
    params = [torch.nn.Parameter(x.clone())]
    params[0].grad = x.clone()
    fused = torch.optim.Adam(params, fused=True)
    assert operators.without_kernel(fused.step) == ["aten::_fused_adam_"]  # registered, but run on the CPU
    with pytest.raises(ValueError, match="no operator ran"):
        operators.without_kernel(lambda: torch.ones(2).add(1))
