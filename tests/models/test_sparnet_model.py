# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The recipe SPARNet: its losses, and what the perceptual one needs."""
import math

import pytest
import torch

from engine.logger import read_metrics
from engine.trainer import Trainer
from models import build_training_recipe, loss, lpips
from models.face_embedding import MobileFaceNet
from models.sparnet_options import SPARNetOptions
from options.train_options import parse_train
from tests.helpers.lpips_file import shift_tolerant_alexnet
from tests.helpers.released import fill, probe
from tests.helpers.runs import TINY, same, state, whole_and_parts
from utils.errors import UserError

SMALL = ["--model", "sparnet", "--dataroot", "faces", "--load_size", "64", "--min_ch", "8", "--max_ch", "8",
         "--res_depth", "1", "--hourglass_ch", "8"]


@pytest.fixture(scope="module")
def alexnet_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("lpips") / "alex.pth"
    state = fill(lpips.LPIPS("lpips", lpips.alexnet_layers(), (1,)).state_dict())
    torch.save({key: value for key, value in state.items() if key.startswith("features.")}, path)
    return str(path)


def recipe(*words):
    torch.manual_seed(0)
    return build_training_recipe(parse_train([*SMALL, *words]))


def test_the_losses_are_those_described(alexnet_path):
    model = recipe("--lambda_pix", "3", "--lambda_pcp", "0.5", "--pcp_path", alexnet_path)
    generator = model.networks["G"].eval()
    faces = {"lr": probe((2, 3, 64, 64), 0), "hr": probe((2, 3, 64, 64), 1)}
    (phase, found), = model.training_step(faces, 0)
    sr = generator(faces["lr"])
    distance = lpips.load_lpips(alexnet_path)(sr, faces["hr"]).mean()
    assert phase == "G" and list(found) == ["Pix", "Pcp"] and distance > 1e-3
    torch.testing.assert_close(found["Pix"], 3 * (sr - faces["hr"]).abs().mean())
    torch.testing.assert_close(found["Pcp"], 0.5 * distance)
    found["Pcp"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in generator.parameters() if p.dim() == 4)
    assert all(p.grad is None for p in model.frozen["lpips"].parameters())


def test_the_adversarial_phases():
    model = recipe("--lambda_g", "0.25", "--D_ch", "4", "--load_size", "128")
    generator, discriminator = model.networks["G"].eval(), model.networks["D"].eval()  # eval freezes spectral norm
    faces = {"lr": probe((2, 3, 128, 128), 0), "hr": probe((2, 3, 128, 128), 1)}
    phases = model.training_step(faces, 0)
    phase, found = next(phases)
    sr = generator(faces["lr"])
    fake, real = ([score for _, score in discriminator(x)] for x in (sr, faces["hr"]))
    assert phase == "G" and list(found) == ["Pix", "G"] and len(fake) == 2
    torch.testing.assert_close(found["G"], -0.25 * sum(score.mean() for score in fake) / len(fake))
    found["G"].backward()
    assert all(p.grad is None for p in discriminator.parameters())
    assert all(p.grad.abs().sum() > 0 for p in generator.parameters() if p.dim() == 4)
    phase, found = next(phases)
    hinge = [((1 - r).relu().mean() + (1 + f).relu().mean()) / 2 for r, f in zip(real, fake, strict=True)]
    assert phase == "D" and list(found) == ["D"] and not list(phases)
    torch.testing.assert_close(found["D"], sum(hinge) / len(hinge))
    before = [p.grad.clone() for p in generator.parameters()]
    found["D"].backward()
    assert all(torch.equal(old, p.grad) for old, p in zip(before, generator.parameters(), strict=True))
    assert all(p.grad is not None for p in discriminator.parameters())
    with pytest.raises(UserError, match="--lambda_g needs --load_size 66 or more, not 64"):
        recipe("--lambda_g", "0.25", "--load_size", "64")


def test_without_a_weight_there_is_no_perceptual_loss():
    model = recipe()
    (_, found), = model.training_step({"lr": probe((2, 3, 64, 64), 0), "hr": probe((2, 3, 64, 64), 1)}, 0)
    assert list(found) == ["Pix"] and not model.frozen and list(model.networks) == ["G"]


def test_what_the_perceptual_loss_needs(alexnet_path):
    small = ["--load_size", "16", "--min_feat_size", "8", "--bottleneck_size", "16"]
    for words, message in ((["--lambda_pcp", "1"], "--lambda_pcp needs --pcp_path FILE"),
                           (["--lambda_pcp", "1", "--pcp_path", "none.pth"], "--pcp_path: .*there is no such file"),
                           (["--lambda_pcp", "1", "--pcp_path", alexnet_path, *small],
                            "--lambda_pcp needs --load_size 31 or more, not 16")):
        with pytest.raises(UserError, match=message):
            recipe(*words)


@pytest.mark.parametrize("words", [["--opt_level", "O0", "--ema_decay", "0.9"],
                                   ["--opt_level", "O2", "--accumulate", "2"]], ids=["O0 averaged", "O2 accumulated"])
def test_resume_with_both_losses_is_bit_equal(faces, tmp_path, monkeypatch, words):
    path = shift_tolerant_alexnet(tmp_path / "st.pth")

    def train(*words, name):
        words = [*TINY, "--load_size", "128", "--min_feat_size", "32", "--batch_size", "2", "--dataroot", faces,
                 "--checkpoints_dir", tmp_path, "--name", name, "--lambda_pcp", "0.1", "--pcp_path", path,
                 "--lambda_g", "0.01", "--D_ch", "2", *words]
        return Trainer(parse_train([str(word) for word in words])).fit(), tmp_path / name
    whole, folder = whole_and_parts(train, monkeypatch, 2, *words, "--train_steps", "4")
    parts = state(folder)
    for part in ("networks", "ema", "optimizers"):
        assert same(whole[part], parts[part]) == ""
    assert all(0 < read_metrics(folder)[-1][f"Loss_{name}"] < 10 for name in ("Pix", "Pcp", "D"))


def test_older_runs_had_neither_loss(faces, tmp_path, capsys):
    """Their checkpoints do not name the options; adding a loss to such a run is said."""
    def train(*words):
        words = [*TINY, "--load_size", "64", "--dataroot", faces, "--checkpoints_dir", tmp_path, "--name", "run",
                 *words]
        return Trainer(parse_train([str(word) for word in words])).fit()
    assert train("--train_steps", 1) == 0
    newest = next((tmp_path / "run").glob("state_*.pth"))
    content = torch.load(newest, weights_only=True)
    for name in ("lambda_pcp", "pcp_path", "lambda_g"):
        del content["options"][name]
    torch.save(content, newest)
    path = shift_tolerant_alexnet(tmp_path / "st.pth")
    assert train("--train_steps", 2, "--continue_train", "--lambda_pcp", 1, "--pcp_path", path) == 0
    assert "changes options of the run: lambda_pcp 0.0 -> 1.0" in capsys.readouterr().out


def test_psnr_as_the_pixel_loss():
    """Known values: errors of 0.2 and 0.02 of a range of 2 are 0.01 and 0.0001 of [0, 1], squared: 20 and 40 dB."""
    real = torch.zeros(2, 3, 64, 64)
    fake = torch.stack([torch.full((3, 64, 64), 0.2), torch.full((3, 64, 64), 0.02)]).requires_grad_()
    value = loss.pixel_loss("psnr", fake, real)
    # PSNR_CEILING, an error of 0.0001, takes 0.04 and 3.01 dB.
    assert value.item() == pytest.approx(-(19.9568 + 36.9897) / 2, abs=1e-3)
    value.backward()
    relative = (fake.grad * fake.detach()).sum((1, 2, 3))  # what one per cent of error more costs: the same for both
    assert relative[1] / relative[0] == pytest.approx((1 / 2) / (1 / 1.01), rel=1e-4)
    perfect = torch.zeros(1, 3, 64, 64, dtype=torch.bfloat16, requires_grad=True)
    value = loss.pixel_loss("psnr", perfect, torch.zeros(1, 3, 64, 64))
    value.backward()
    assert value.item() == pytest.approx(-loss.PSNR_CEILING) and value.dtype == torch.float32
    assert (perfect.grad == 0).all()


def test_the_recipe_takes_the_pixel_loss_that_is_asked_for():
    faces = {"lr": probe((2, 3, 64, 64), 0), "hr": probe((2, 3, 64, 64), 1)}
    model = recipe("--lambda_pix", "3", "--pix_loss", "psnr")
    sr = model.networks["G"].eval()(faces["lr"])
    (_, found), = model.training_step(faces, 0)
    per_face = [10 * math.log10(((sr - faces["hr"])[i] / 2).square().mean().item() + 1e-4) for i in (0, 1)]
    assert found["Pix"].item() == pytest.approx(3 * sum(per_face) / 2, rel=1e-5)


def test_the_identity_loss(tmp_path):
    embedding = fill(MobileFaceNet().state_dict())
    torch.save(embedding, tmp_path / "embedding.pth")
    model = recipe("--lambda_id", "3", "--arcface_path", str(tmp_path / "embedding.pth"))
    faces = {"lr": probe((2, 3, 64, 64), 0), "hr": probe((2, 3, 64, 64), 1)}
    sr = model.networks["G"].eval()(faces["lr"])
    (_, found), = model.training_step(faces, 0)
    vectors = [model.frozen["arcface"](loss.identity_crop(x, (112, 96))) for x in (sr, faces["hr"])]
    assert list(found) == ["Pix", "Id"] and found["Id"] > 1e-3
    torch.testing.assert_close(found["Id"], 3 * (1 - (vectors[0] * vectors[1]).sum(1)).mean())
    found["Id"].backward()
    assert model.networks["G"].out_conv.conv2d.weight.grad.abs().sum() > 0
    with pytest.raises(UserError, match="--arcface_path FILE is needed.*--lambda_id 0 turns this loss off"):
        recipe("--lambda_id", "1")


def test_the_parts_of_skips_can_learn_faster():
    model = recipe("--skips", "--skips_lr_factor", "6")
    fast = {name for name, _ in model.networks["G"].named_parameters() if name.split(".")[0] in
            ("skips", "fusions", "fine", "fine_conv")}
    slow, quick = model.optimizers["G"].parameter_groups(model.networks)
    assert (slow["lr_factor"], quick["lr_factor"]) == (1, 6) and len(quick["params"]) == len(fast) > 0
    assert len(slow["params"]) + len(fast) == len(list(model.networks["G"].parameters()))
    assert "--skips is off" in SPARNetOptions.unread(parse_train(SMALL))["skips_lr_factor"]
