# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The recipes FSRNet and FSRGAN: losses by their definition, exact resume, precision, optimizers."""
import json

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import data
from data.celeba_dataset import CelebADataset
from data.face_folder import Place
from engine.logger import read_metrics
from engine.report import picture_grid
from engine.trainer import Trainer
from models import build_training_recipe
from models.vgg import VGG16Features
from models.weights import count_parameters, load_pretrained, load_weights
from options.test_options import parse_test
from options.train_options import parse_train
from tests.helpers.faces import make_official
from tests.helpers.released import fill, probe
from tests.helpers.runs import restore, same, state, whole_and_parts
from utils.errors import UserError
from utils.images import TITLE_HEIGHT, list_images

SMALL = ["--model", "fsrnet", "--dataset_name", "tiny", "--load_size", "32", "--width", "4", "--enc_blocks", "2",
         "--hourglasses", "1", "--hmaps_ch", "1", "--pmaps_ch", "2", "--batch_size", "3", "--workers",
         "0", "--print_freq", "2", "--device", "cpu"]
GAN = ["--lambda_g", "0.001", "--D_ch", "4"]
ADAM = ["--optimizer", "adam"]


class TinyFaces(CelebADataset):
    """Faces whose 'landmark' is their brightest pixel and whose 'parts' are their red and green halves."""

    def make_sample(self, image, rng, path):
        sample = super().make_sample(image, rng, path)
        half = sample["hr"][::2, ::2].astype(int)
        brightness = half.sum(2)
        maps = [brightness == brightness.max(), half[..., 0] > 128, half[..., 1] > 128]
        return sample | {"priors": np.stack(maps, -1).astype(np.uint8) * 255}


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """Registers --dataset_name tiny. Uses one thread: the network is too small for several."""
    monkeypatch.setitem(data.DATASETS, "tiny", f"{__name__}:TinyFaces")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def train(tmp_path, faces):
    """train(*words, name=...) -> (exit status, run folder)"""
    def run(*words, name="run"):
        options = parse_train([*SMALL, "--dataroot", str(faces), "--checkpoints_dir", str(tmp_path), "--name", name,
                               *map(str, words)])
        return Trainer(options).fit(), tmp_path / name
    return run


@pytest.fixture(scope="module")
def vgg16_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    torch.save(fill(VGG16Features().state_dict()), path)
    return str(path)


def recipe(*words):
    torch.manual_seed(0)
    return build_training_recipe(parse_train([*SMALL, *words]))


def batch(maps=3):
    return {"lr": probe((2, 3, 32, 32), 0), "hr": probe((2, 3, 32, 32), 1), "priors": probe((2, maps, 16, 16), 2)}


def test_the_losses_are_those_published(vgg16_path):
    """Compares the phases, which share forwards, with separate forwards. Eval mode freezes batch norm."""
    model = recipe(*GAN, "--lambda_pcp", "0.1", "--vgg16_path", vgg16_path, "--lambda_coarse", "2", "--lambda_prior",
                   "3")
    for net in model.networks.values():
        net.eval()
    faces = batch()
    phases = model.training_step(faces, 0)
    phase, found = next(phases)
    generator, discriminator, vgg16 = model.networks["G"], model.networks["D"], model.frozen["vgg16"]
    coarse, priors, sr = generator(faces["lr"])
    real, fake = discriminator(faces["hr"]), discriminator(sr)
    expected = {
        "Pix": (sr - faces["hr"]).square().mean(),
        "Coarse": 2 * (coarse - faces["hr"]).square().mean(),
        "Prior": 3 * (priors - faces["priors"]).square().mean(),
        "Pcp": 0.1 * (vgg16(sr)[-1] - vgg16(faces["hr"])[-1]).square().mean(),
        "G": -0.001 * fake.log().mean()}
    assert phase == "G" and list(found) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)
    sum(found.values()).backward()
    assert all(p.grad is None for p in discriminator.parameters())
    assert all(p.grad is not None for p in generator.parameters())
    before = [p.grad.clone() for p in generator.parameters()]
    phase, found = next(phases)
    assert phase == "D" and list(found) == ["D"]
    torch.testing.assert_close(found["D"], -0.5 * (real.log().mean() + (1 - fake).log().mean()))
    found["D"].backward()
    assert all(p.grad is not None for p in discriminator.parameters())
    assert all(torch.equal(a, p.grad) for a, p in zip(before, generator.parameters(), strict=True))
    assert next(phases, None) is None


def test_fsrnet_alone_has_one_phase_and_three_losses():
    model = recipe()
    (phase, found), = model.training_step(batch(), 0)
    assert phase == "G" and list(found) == ["Pix", "Coarse", "Prior"]
    assert set(model.networks) == set(model.optimizers) == {"G"}


def test_without_prior_maps():
    model = recipe("--lambda_prior", "0")
    faces = batch()
    del faces["priors"]
    (_, found), = model.training_step(faces, 0)
    assert list(found) == ["Pix", "Coarse"]
    assert list(model.pictures(faces)) == ["LR", "coarse", "SR", "HR"]
    assert any("prior_conv2" in key for key in model.networks["G"].state_dict())
    sum(found.values()).backward()
    for name, parameter in model.networks["G"].named_parameters():  # DDP waits for each that requires a gradient
        assert (parameter.grad is not None) == parameter.requires_grad == (not name.startswith("prior_conv")), name
    with pytest.raises(UserError, match="--dataset_name has no prior maps.*--lambda_prior 0"):
        next(recipe().training_step(faces, 0))


@pytest.mark.parametrize("words, maps", [
    ([], (0, 11)), (["--dataset_name", "helen"], (194, 9)), (["--dataset_name", "landmarks68"], (68, 9)),
    (["--dataset_name", "landmarks68", "--priors", "heatmaps"], (68, 0)),
    (["--dataset_name", "builtin", "--priors", "both"], (68, 11)), (["--dataset_name", "celeba"], (0, 11)),
    (["--dataset_name", "helen", "--pmaps_ch", "3"], (194, 3)), (["--preset", "fsrnet_helen_upstream"], (194, 9))])
def test_numbers_of_maps_follow_the_data(words, maps):
    train, test = parse_train(["--model", "fsrnet", *words]), parse_test(
        ["--model", "fsrnet", *words, "--pth_path", "net.pth", "--dataroot", "faces"])
    assert (train.hmaps_ch, train.pmaps_ch) == (test.hmaps_ch, test.pmaps_ch) == maps


def test_other_numbers_of_maps_are_refused():
    with pytest.raises(UserError, match="--hmaps_ch 1 and --pmaps_ch 2 make 3 prior maps, the dataset has 5"):
        next(recipe().training_step(batch(5), 0))
    with pytest.raises(UserError, match="--model fsrnet: .*hmaps_ch 0 and pmaps_ch 0"):
        recipe("--hmaps_ch", "0", "--pmaps_ch", "0")
    with pytest.raises(UserError, match="--hmaps_ch: -1 is below 0"):
        recipe("--hmaps_ch", "-1")
    with pytest.raises(UserError, match="--load_size 33: it must be even"):
        recipe("--load_size", "33")


def test_the_perceptual_loss_asks_for_its_file():
    with pytest.raises(UserError, match="--vgg16_path is not read here: --lambda_pcp is 0, which leaves the perc"):
        recipe("--vgg16_path", "vgg16.pth")
    with pytest.raises(UserError, match="--vgg16_path FILE is needed.*https://.*vgg16-397923af.pth.*--lambda_pcp 0"):
        recipe("--lambda_pcp", "0.1")


def test_what_is_restored_is_the_fine_face():
    model = recipe()
    model.networks["G"].eval()
    lr = batch()["lr"]
    assert torch.equal(model.restore(lr), model.networks["G"](lr)[2])


def test_tied_blocks_restore_as_they_were_trained():
    """Restores with the batch's statistics and leaves the network's state unchanged."""
    model = recipe("--tied")
    net = model.networks["G"]
    lr = batch()["lr"]
    before = {name: value.clone() for name, value in net.state_dict().items()}
    net.eval()
    found = model.restore(lr)
    assert same(before, net.state_dict()) == "" and not torch.allclose(found, net(lr)[2], atol=1e-3)
    assert torch.equal(found, net.train()(lr)[2])
    untied = recipe()
    assert untied.networks["G"].norms_by_batch() == []
    untied.networks["G"].load_state_dict(before)  # as if a public checkpoint is loaded without --tied
    untied.networks["G"].eval()
    assert torch.equal(untied.restore(lr), found)


def test_pictures_show_where_landmarks_and_parts_are():
    model = recipe()
    faces = {"lr": torch.zeros(1, 3, 32, 32), "hr": torch.zeros(1, 3, 32, 32), "priors": -torch.ones(1, 3, 16, 16)}
    faces["priors"][0, 0, 2:6, 2:6] = 1  # a landmark at the top left, the second part at the bottom right
    faces["priors"][0, 2, 8:, 8:] = 1
    grid, titles = picture_grid(model, faces, rows=1)
    assert titles == "LR | coarse | SR | HR | landmarks | parts | true landmarks | true parts"
    grid = grid[TITLE_HEIGHT:]
    landmarks, parts = (grid[2:34, 2 + 34 * i:34 + 34 * i] for i in (6, 7))
    assert landmarks[8, 8].tolist() == [255, 255, 255] and landmarks[24, 24].tolist() == [128, 128, 128]
    assert parts[8, 8].tolist() == [128, 128, 128]
    assert parts[24, 24].tolist() == [51, 204, 204]  # cyan, the second of two hues, at opacity 0.6
    assert model.networks["G"].training
    del faces["priors"]
    assert list(model.pictures(faces)) == ["LR", "coarse", "SR", "HR", "landmarks", "parts"]


def test_prior_maps_reach_the_loss_as_pictures_do(train, faces):
    """Recomputes the first step's losses from the files (bytes 0..255 become -1..1) and weights of the same seed."""
    words = ["--train_steps", "1", "--batch_size", "10", "--augmentation", "none"]  # one batch holds all faces
    _, folder = train(*words, "--seed", "0")
    dataset = TinyFaces(list_images(faces, "--dataroot"), 32, 8)
    samples = [dataset[Place(0, i)] for i in range(10)]
    lr, hr, priors = (torch.tensor(np.stack([s[name] for s in samples]) / 127.5 - 1).float().permute(0, 3, 1, 2)
                      for name in ("lr", "hr", "priors"))
    coarse, maps, sr = recipe().networks["G"].train()(lr)
    expected = {"Loss_Pix": F.mse_loss(sr, hr), "Loss_Coarse": F.mse_loss(coarse, hr),
                "Loss_Prior": F.mse_loss(maps, priors)}
    found = read_metrics(folder)[-1]
    for name, value in expected.items():
        assert found[name] == pytest.approx(value.item(), rel=1e-5)


@pytest.mark.parametrize("words", [
    ["--opt_level", "O0", *GAN, "--ema_decay", "0.9"], ["--opt_level", "O2", *GAN],
    ["--opt_level", "O2", "--tied", "--ema_decay", "0.9", *ADAM],
], ids=["O0 FSRGAN RMSprop averaged", "O2 FSRGAN RMSprop", "O2 tied Adam"])
def test_resume_is_bit_equal(train, monkeypatch, words):
    words = [*words, "--train_steps", "4", "--val_count", "2"]
    whole, folder = whole_and_parts(train, monkeypatch, 2, *words)
    parts = state(folder)
    for part in ("networks", "ema", "optimizers"):
        assert same(whole[part], parts[part]) == ""
    released = parts["ema"].get("G") or parts["networks"]["G"]  # newtest.py loads this state dict strictly
    net = load_weights(recipe(*words).networks["G"], folder / "latest_net_G.pth")
    assert same(released, dict(net.state_dict())) == ""


# RMSprop's first step is ten times its learning rate, so --lr is ten times lower.
@pytest.mark.parametrize("words", [[*ADAM, "--lr", "2e-4"], ["--lr", "2e-5"]], ids=["Adam", "RMSprop"])
def test_it_learns_in_half_precision_as_in_float32(train, words):
    runs = [state(train(*GAN, *words, "--train_steps", 6, "--opt_level", level, name=level)[1])
            ["progress"]["losses"] for level in ("O0", "O2")]
    assert set(runs[0]) == {"Pix", "Coarse", "Prior", "G", "D"}
    for name in runs[0]:
        assert runs[0][name] == pytest.approx(runs[1][name], rel=0.05)


def test_each_network_has_the_optimizer_asked_for():
    for words, kind in (([], "rmsprop"), (ADAM, "adam")):
        specs = recipe(*GAN, *words, "--lr", "0.5", "--d_lr", "0.25").optimizers
        assert [(phase, s.roles, s.kind, s.lr) for phase, s in specs.items()] == [
            ("G", ("G",), kind, 0.5), ("D", ("D",), kind, 0.25)]


def test_a_public_file_of_fsrgan_begins_both_networks(tmp_path):
    public = recipe(*GAN, "--tied", "--init_type", "normal").networks
    file = str(tmp_path / "public.pth")
    torch.save({"epoch": 1, "hmaps_ch": 1, "pmaps_ch": 2, "state_dict": public["G"].state_dict(),
                "state_dict_disc": public["D"].state_dict()}, file)
    words = [*GAN, "--tied", "--pretrain_model_path", file, "--pretrain_d_path", file]
    networks = recipe(*words).networks
    load_pretrained(networks, parse_train([*SMALL, *words]))
    for role, net in networks.items():
        assert same(dict(public[role].state_dict()), dict(net.state_dict())) == ""


def test_a_run_does_not_go_on_with_another_optimizer(train):
    train("--train_steps", 1, name="run")
    with pytest.raises(UserError, match="--continue_train: .*run does not fit: it was trained with rmsprop, not adam"):
        train("--train_steps", 2, "--continue_train", *ADAM, name="run")


def test_a_run_does_not_go_on_with_a_discriminator_that_it_has_not(train):
    train("--train_steps", 1, name="run")
    with pytest.raises(UserError, match="it has these networks: G; now it would have: D and G. Go on with"):
        train("--train_steps", 2, "--continue_train", *GAN, name="run")


def test_on_the_simulated_npu(npu, train, same_rounding):
    """O0 equals the CPU bit for bit. O2 uses only operators that have native kernels."""
    from npusim import operators
    words = [*GAN, "--train_steps", 2]
    cpu, simulated = (state(train(*words, "--opt_level", "O0", "--device", d, name=d[:3])[1]) for d in ("cpu", "npu:2"))
    for part in ("networks", "optimizers"):
        assert same(cpu[part], simulated[part]) == ""
    assert operators.without_kernel(lambda: train(*words, "--opt_level", "O2", "--device", "npu")) == []


@pytest.mark.parametrize("name, millions", [
    ("fsrnet_celebamask", 3.264), ("fsrnet_helen", 3.288), ("fsrgan_celebamask", 3.264),
    ("fsrnet_celebamask_upstream", 2.154), ("fsrnet_helen_upstream", 2.179), ("fsrgan_celebamask_upstream", 2.154)])
def test_presets_build_the_networks_they_name(name, millions, vgg16_path):
    options = parse_train(["--preset", name, *(["--vgg16_path", vgg16_path] if "fsrgan" in name else [])])
    model = build_training_recipe(options)
    assert count_parameters(model.networks["G"]) / 1e6 == pytest.approx(millions, abs=6e-4)
    assert ("D" in model.networks) == bool(model.frozen) == ("fsrgan" in name)
    assert {(spec.kind, spec.lr, spec.alpha) for spec in model.optimizers.values()} == {("rmsprop", 2.5e-4, 0.99)}
    assert (options.batch_size, options.total_epochs) == (14, 100)
    assert (options.opt_level, options.augmentation) == (("O0", "upstream") if "upstream" in name else (None, "fixed"))


def test_a_blind_training_with_priors_and_its_scores(tmp_path):
    """Trains on CelebAMask-HQ faces degraded by GPEN's chain; newtest.py follows the run's options.yml."""
    root = make_official(tmp_path / "hq", lambda n: str(n % 2), size=32)
    words = [*SMALL[SMALL.index("--load_size"):], "--model", "fsrnet", "--dataset_name", "celebamask", "--degradation",
             "gpen", "--pmaps_ch", "11", "--hmaps_ch", "0", "--batch_size", "2", "--dataroot", str(root), "--val_count",
             "1", "--train_steps", "1", "--checkpoints_dir", str(tmp_path), "--name", "blind"]
    assert Trainer(parse_train(words)).fit() == 0
    folder = restore(tmp_path, tmp_path / "blind" / "latest_net_G.pth", "--gtroot", root)
    scores = json.loads((folder / "scores.json").read_text())
    assert 0 <= scores["priors"]["parsing_iou"]["mean"] <= 1 and scores["faces"] == 3
    other = restore(tmp_path, tmp_path / "blind" / "latest_net_G.pth", "--gtroot", root, "--degradation", "bicubic")
    assert json.loads((other / "scores.json").read_text())["protocols"]["rgb"]["input"] != (
        scores["protocols"]["rgb"]["input"])
