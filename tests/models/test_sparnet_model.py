# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The recipe SPARNet: its losses, and what the perceptual one needs."""
import pytest
import torch

from models import build_training_recipe, lpips
from options.train_options import parse_train
from tests.helpers.released import fill, probe
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
