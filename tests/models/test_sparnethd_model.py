# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The recipe SPARNetHD: losses by their definition, exact resume, precision, ranks, checkpointing."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from data.face_folder import Place
from models import build_training_recipe, loss
from models.blocks import InstanceNorm
from models.values import GAN_LOSSES
from models.vgg import VGG19Features
from options.train_options import parse_train
from tests.helpers.released import fill, probe
from tests.helpers.runs import SMALL_SPARNETHD, largest_difference, run_ranks, same, state, whole_and_parts
from utils.errors import UserError
from utils.images import resize


@pytest.fixture(scope="module")
def vgg19_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("vgg") / "vgg19.pth"
    torch.save(fill(VGG19Features().state_dict()), path)
    return str(path)


def recipe(*words):
    torch.manual_seed(0)
    return build_training_recipe(parse_train([*SMALL_SPARNETHD, *words]))


def test_the_losses_are_those_published(vgg19_path):
    """Compares the phases, which share forwards, with separate forwards. Eval mode freezes spectral norm."""
    model = recipe("--lambda_pcp", "0.5", "--vgg19_path", vgg19_path, "--lambda_g", "3")
    for net in model.networks.values():
        net.eval()
    batch = {"lr": probe((2, 3, 64, 64), 0), "hr": probe((2, 3, 64, 64), 1)}
    phases = model.training_step(batch, 0)
    phase, found = next(phases)
    generator, discriminator, vgg19 = model.networks["G"], model.networks["D"], model.frozen["vgg19"]
    sr, hr = generator(batch["lr"]), batch["hr"]
    fake, real = discriminator(sr), discriminator(hr)
    expected = {
        "Pix": 100 * F.l1_loss(sr, hr),
        "FM": 10 * sum(F.l1_loss(a, b) for x, y in zip(fake, real, strict=True)
                       for a, b in zip(x[0], y[0], strict=True)) / 2,
        "G": -3 * sum(score.mean() for _, score in fake) / 2,
        "Pcp": 0.5 * sum(F.l1_loss(a, b) for a, b in zip(vgg19(sr), vgg19(hr), strict=True))}
    assert phase == "G" and list(found) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)
    sum(found.values()).backward()
    assert all(p.grad is None for p in discriminator.parameters())
    assert all(p.grad is not None for p in generator.parameters())
    before = [p.grad.clone() for p in generator.parameters()]
    phase, found = next(phases)
    expected = sum(0.5 * (F.relu(1 - r).mean() + F.relu(1 + f).mean())
                   for (_, r), (_, f) in zip(real, fake, strict=True)) / 2
    assert phase == "D" and list(found) == ["D"]
    torch.testing.assert_close(found["D"], expected)
    found["D"].backward()
    assert all(p.grad is not None for p in discriminator.parameters())
    assert all(torch.equal(a, p.grad) for a, p in zip(before, generator.parameters(), strict=True))
    assert next(phases, None) is None


@pytest.mark.parametrize("mode", GAN_LOSSES)
def test_gan_mode_is_that_of_both_phases(mode):
    model = recipe("--gan_mode", mode)
    generator, discriminator = (model.networks[role].eval() for role in ("G", "D"))
    batch = {"lr": probe((1, 3, 64, 64), 0), "hr": probe((1, 3, 64, 64), 1)}
    found = dict(model.training_step(batch, 0))
    fake, real = ([score for _, score in discriminator(x)] for x in (generator(batch["lr"]), batch["hr"]))
    torch.testing.assert_close(found["G"]["G"], loss.generator_loss(mode, fake))
    torch.testing.assert_close(found["D"]["D"], loss.discriminator_loss(mode, real, fake))


def test_the_presets_are_the_published_recipe():
    published = {
        "batch_size": 2, "lr": 1e-4, "d_lr": 4e-4, "beta1": 0.5, "beta2": 0.99, "ema_decay": 0.999, "lambda_pix": 100,
        "lambda_pcp": 1, "lambda_fm": 10, "lambda_g": 1, "gan_mode": "hinge", "Gnorm": "in", "Dnorm": "in",
        "load_size": 512, "res_depth": 10, "min_ch": 32, "max_ch": 512, "min_feat_size": 32, "bottleneck_size": 4,
        "hourglass_ch": 64, "D_scales": 3, "D_ch": 64, "D_max_ch": 512, "D_layers": 4, "init_type": "kaiming",
        "dataset_name": "ffhq", "lr_policy": "constant", "warmup_steps": 0, "weight_decay": 0}
    own = {"sparnethd_ffhq": {"channel_multiple": 16, "opt_level": None, "augmentation": "fixed"},
           "sparnethd_ffhq_upstream": {"channel_multiple": 1, "opt_level": "O0", "augmentation": "none"}}
    for preset, others in own.items():
        options = vars(parse_train(["--preset", preset]))
        expected = published | others
        assert {name: options[name] for name in expected} == expected
    optimizers = recipe("--lr", "0.25", "--d_lr", "0.125").optimizers
    assert [(s.roles, s.lr, s.betas) for s in optimizers.values()] == [
        (("G",), 0.25, (0.5, 0.99)), (("D",), 0.125, (0.5, 0.99))]


def test_first_weights_are_pytorchs_own_with_zero_biases():
    """The released networks began with Kaiming uniform weights, within 1 / sqrt(fan-in)."""
    for net in recipe().networks.values():
        for module in net.modules():
            if isinstance(module, torch.nn.Conv2d):
                bound = module.weight_orig[0].numel() ** -0.5
                assert 0.8 * bound < float(module.weight_orig.detach().abs().max()) <= bound
                assert module.bias is None or not module.bias.any()
            elif isinstance(module, InstanceNorm):
                assert (module.weight == 1).all() and not module.bias.any()


def test_micro_batches_one_phase_after_the_other_have_their_own_gradients():
    """--accumulate runs phase G of all micro-batches, then phase D of all."""
    model = recipe()
    for net in model.networks.values():
        net.eval()  # freezes spectral norm
    batches = [{"lr": probe((2, 3, 64, 64), i), "hr": probe((2, 3, 64, 64), i + 2)} for i in range(2)]
    found = []
    for together in (False, True):
        runs = [model.training_step(batch, 0) for batch in batches]
        gradients = {}
        for phase, i in (("G", 0), ("G", 1), ("D", 0), ("D", 1)) if together else (
                ("G", 0), ("D", 0), ("G", 1), ("D", 1)):
            name, losses = next(runs[i])
            assert name == phase
            for p in model.networks[phase].parameters():
                p.grad = None
            sum(losses.values()).backward()
            gradients[phase, i] = [p.grad for p in model.networks[phase].parameters()]
        found.append(gradients)
    for key in found[0]:
        for a, b in zip(found[0][key], found[1][key], strict=True):
            torch.testing.assert_close(a, b)


def test_checkpointing_changes_nothing_but_the_memory():
    gradients, kept = [], []
    for words in ([], ["--checkpointing"]):
        net = recipe(*words).networks["G"].train()
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, sizes=sizes: sizes.append(t.numel()) or t, lambda t: t):
            sr = net(probe((1, 3, 64, 64), 0))
        kept.append(sum(sizes))
        sr.square().sum().backward()
        gradients.append({name: p.grad for name, p in net.named_parameters()})
    assert kept[1] < kept[0] / 3
    assert largest_difference(*gradients) < 1e-4 * max(float(g.abs().max()) for g in gradients[0].values())
    with pytest.raises(UserError, match="batch norm's statistics twice"):
        recipe("--checkpointing", "--Gnorm", "bn")


@pytest.mark.parametrize("level", ["O0", "O2"])
def test_resume_is_bit_equal(train, monkeypatch, level):
    words = [*SMALL_SPARNETHD, "--opt_level", level, "--train_steps", 5, "--val_count", 2]
    whole, folder = whole_and_parts(train, monkeypatch, 3, *words)
    parts = state(folder)
    assert set(whole["networks"]) == set(whole["optimizers"]) == {"G", "D"} and set(whole["ema"]) == {"G"}
    for part in ("networks", "ema", "optimizers"):
        assert same(whole[part], parts[part]) == ""
    u = whole["networks"]["G"]["encoder.0.conv2d.weight_u"]
    assert not torch.equal(u, u.bfloat16().float())  # stays float32 in O2


def test_it_learns_at_128_pixels_in_half_precision_as_in_float32(train):
    words = [*SMALL_SPARNETHD, "--load_size", 128, "--min_feat_size", 16, "--train_steps", 5, "--lr", "2e-4"]
    runs = [state(train(*words, "--opt_level", level, name=level)[1])["progress"]["losses"] for level in ("O0", "O2")]
    assert set(runs[0]) == {"Pix", "FM", "G", "D"}
    for name in runs[0]:
        assert runs[0][name] == pytest.approx(runs[1][name], rel=0.05, abs=0.05)


def test_two_ranks_equal_one_with_twice_the_batch(tmp_path, train, faces, one_thread):
    """Compares both phases' gradients through Adam's first moments, which are proportional to them after one step.
    Further steps would differ: Adam turns a gradient that is only rounding noise into a full-size step."""
    words = [*SMALL_SPARNETHD, "--train_steps", 1]
    one = state(train(*words, "--batch_size", 4, name="one")[1])
    for combine in ("true", "false"):
        run_ranks(2, tmp_path, faces, *words, "--name", combine, "--combine_grad", combine)
        two = state(tmp_path / combine)
        assert one["progress"]["losses"] == pytest.approx(two["progress"]["losses"], rel=1e-5)
        for phase in ("G", "D"):
            mine, theirs = ({name: values["exp_avg"] for name, values in saved["optimizers"][phase]["params"].items()}
                            for saved in (one, two))
            assert largest_difference(mine, theirs) < 1e-4 * max(float(t.abs().max()) for t in mine.values())


def test_the_simulated_npu_computes_what_the_cpu_does(npu, train, same_rounding, monkeypatch):
    # The CPU's own instance norm rounds differently.
    monkeypatch.setattr(InstanceNorm, "forward", torch.nn.InstanceNorm2d.forward)
    words = [*SMALL_SPARNETHD, "--train_steps", 3]
    cpu, simulated = (state(train(*words, "--opt_level", "O0", "--device", d, name=d)[1]) for d in ("cpu", "npu"))
    for part in ("networks", "ema", "optimizers"):
        assert same(cpu[part], simulated[part]) == ""
    half = state(train(*words, "--device", "npu", name="half")[1])  # O2 in float16, the NPU's default
    assert half["optimizers"]["G"]["scaler"]["skipped"] == half["optimizers"]["D"]["scaler"]["skipped"] == 0
    for name, value in cpu["progress"]["losses"].items():
        assert half["progress"]["losses"][name] == pytest.approx(value, rel=0.02, abs=0.02)


def test_a_loss_that_is_not_finite_is_named_and_nothing_is_overwritten(train, monkeypatch):
    words = [*SMALL_SPARNETHD, "--save_latest_freq", 2]
    _, folder = train(*words, "--train_steps", 2, name="spoilt")
    before = sorted((p.name, p.read_bytes()) for p in folder.glob("*.pth"))
    monkeypatch.setattr(loss, "discriminator_loss", lambda kind, real, fake: real[0].sum() * float("nan"))
    with pytest.raises(UserError, match="(?s)D.*nan|nan.*D"):
        train(*words, "--train_steps", 4, "--continue_train", name="spoilt")
    assert sorted((p.name, p.read_bytes()) for p in folder.glob("*.pth")) == before


def test_restoring_degrades_as_the_training_did(train, tmp_path, faces):
    from data.degradations import degrade_ffhq
    from engine.tester import Tester
    from options.test_options import parse_test
    _, folder = train(*SMALL_SPARNETHD, "--train_steps", 2)
    options = parse_test(["--pth_path", str(folder / "latest_net_G.pth"), "--gtroot", str(faces), "--max_images", "2",
                          "--device", "cpu", "--workers", "0", "--results_dir", str(tmp_path), "--name", "restored"])
    assert "samples.png (LR | SR | EMA | HR | attention)" in (folder / "train.log").read_text()
    tester = Tester(options)
    sample = tester.dataset[Place(0, 1)]
    square = resize(Image.open(tester.dataset.paths[1]), 512)
    hr, lr, _ = degrade_ffhq(np.asarray(square), np.random.default_rng([0, 0, 1]))
    assert np.array_equal(sample["lr"], resize(Image.fromarray(lr), 64))
    assert np.array_equal(sample["hr"], resize(Image.fromarray(hr), 64))
    assert tester.titles["input"] == "input"  # not "bicubic": the input went through more than a resize
    assert tester.run() == 0 and (tmp_path / "restored" / "scores.json").exists()
    # The released weights are the generator's average, with the average's own singular vectors.
    average = state(folder)["ema"]["G"]
    assert all(torch.equal(value, average[name]) for name, value in tester.restorer.network.state_dict().items())


def test_pictures_show_the_trained_weights_beside_their_average():
    model = recipe()
    model.networks["G"].eval()
    batch = {"lr": probe((1, 3, 64, 64), 0), "hr": probe((1, 3, 64, 64), 1)}
    with torch.no_grad():
        assert list(model.pictures(batch)) == ["LR", "SR", "HR", "attention"]
        trained, average = model.networks["G"], recipe().networks["G"].eval()
        average.load_state_dict({k: v * 0.9 for k, v in trained.state_dict().items()})
        model.release(model.networks | {"G": average})
        shown = model.pictures(batch)
        assert torch.equal(shown["SR"], trained(batch["lr"])) and torch.equal(shown["EMA"], average(batch["lr"]))
    assert not torch.equal(shown["SR"], shown["EMA"])


@pytest.mark.parametrize("words, message", [
    (["--vgg19_path", "vgg19.pth"], "--vgg19_path is not read here: --lambda_pcp is 0"),
    (["--D_scales", "3", "--D_layers", "4"], "--D_scales 3 --D_layers 4 need --load_size 132 or more, not 64"),
    (["--D_layers", "0"], "--D_layers: 0 is below 1"),
    (["--channel_multiple", "0"], "--channel_multiple: 0 is below 1"),
    (["--hourglass_ch", "0"], "--hourglass_ch: 0 is below 1"),
    (["--lambda_fm", "-1"], "--lambda_fm: -1 is below 0"),
    (["--d_lr", "nan"], "--d_lr: invalid float value: 'nan'"),
    (["--beta1", "1"], "--beta1: 1 is not below 1"),
    (["--ema_decay", "1.5"], "--ema_decay: 1.5 is not below 1"),
    (["--min_ch", "64"], "min_ch 64 is more than max_ch 32"),
])
def test_options_that_cannot_be_are_refused(words, message):
    with pytest.raises(UserError, match=message):
        recipe(*words)


def test_the_perceptual_loss_asks_for_its_file():
    with pytest.raises(UserError, match="--vgg19_path FILE is needed.*https://.*--lambda_pcp 0 does without"):
        recipe("--lambda_pcp", "1")
