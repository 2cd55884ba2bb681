# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The recipe GPEN: phases and losses by their definition, lazy phases in float32, stages, exact resume."""

import pytest
import torch
from torch.nn import functional as F

import utils.device
from engine.logger import read_metrics
from engine.trainer import Trainer
from models import build_recipe, build_training_recipe, create_network, loss
from models.base_model import AdamSpec
from models.face_embedding import MobileFaceNet
from models.gpen import GPEN, Discriminator
from models.precision import in_float32
from models.weights import load_weights
from options.test_options import parse_test
from options.train_options import parse_train
from tests.helpers.released import fill, probe
from tests.helpers.runs import largest_difference, run_ranks, same, small_gpen, state, whole_and_parts
from utils import amp, distributed
from utils.errors import UserError

PHASES = ["G", "G_reg", "D", "D_reg"]


@pytest.fixture
def train(tmp_path, faces, one_thread):
    """train(*words, name=...) -> (exit status, run folder)"""
    def run(*words, name="run"):
        options = parse_train(small_gpen("--dataroot", faces, "--checkpoints_dir", tmp_path, "--name", name, *words))
        return Trainer(options).fit(), tmp_path / name
    return run


@pytest.fixture(scope="module")
def arcface_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("arcface") / "embedding.pth"
    torch.save(fill(MobileFaceNet().state_dict()), path)
    return str(path)


def recipe(*words):
    torch.manual_seed(0)
    return build_training_recipe(parse_train(small_gpen(*words)))


def batch(size=16):
    return {"lr": probe((2, 3, size, size), 0), "hr": probe((2, 3, size, size), 1)}


def test_phases_and_losses_are_those_published(arcface_path):
    model = recipe("--lambda_id", "3", "--arcface_path", arcface_path, "--lambda_fm", "0.5", "--lambda_pix", "7")
    generator, discriminator = model.networks["G"], model.networks["D"]
    lr, hr = batch().values()
    phases = model.training_step({"lr": lr, "hr": hr}, 0)
    phase, found = next(phases)
    sr = generator(lr)
    score, fake = discriminator(sr, return_features=True)
    real = discriminator(hr, return_features=True)[1]
    embedding = model.frozen["arcface"]
    vectors = [embedding(loss.identity_crop(faces, (112, 96))) for faces in (sr, hr)]
    expected = {
        "G": -torch.log(torch.sigmoid(score)).mean(),
        "Pix": 7 * F.smooth_l1_loss(sr, hr),
        "FM": 0.5 * sum(sum(((a - b) ** 2).mean().sqrt() for a, b in zip(x, y, strict=True)) / 2
                        for x, y in zip(fake, real, strict=True)),
        "Id": 3 * (1 - F.cosine_similarity(*vectors)).mean()}
    assert phase == "G" and list(found) == list(expected) and len(real) == 2
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)
    sum(found.values()).backward()
    assert all(p.grad is None for net in (discriminator, embedding) for p in net.parameters())
    assert all(p.grad is not None for p in generator.parameters())
    phase, found = next(phases)
    assert phase == "G_reg" and list(found) == ["Path"]
    phase, found = next(phases)
    expected = -torch.log(torch.sigmoid(discriminator(hr))).mean() - torch.log(
        1 - torch.sigmoid(discriminator(sr.detach()))).mean()
    assert phase == "D" and list(found) == ["D"]
    torch.testing.assert_close(found["D"], expected)
    phase, found = next(phases)
    hr.requires_grad_()
    slope, = torch.autograd.grad(discriminator(hr).sum(), hr)
    assert phase == "D_reg" and list(found) == ["R1"]
    torch.testing.assert_close(found["R1"], 10 / 2 * 4 * (slope ** 2).sum() / len(hr))
    found["R1"].backward()
    assert all(p.grad is not None for name, p in discriminator.named_parameters() if name.endswith("weight"))
    assert next(phases, None) is None


def test_lazy_phases_come_when_they_are_due_and_learning_rates_make_up_for_them():
    model = recipe("--lr", "0.002", "--d_lr", "0.001", "--path_every", "4", "--r1_every", "16")
    seen = {step: [phase for phase, _ in model.training_step(batch(), step)] for step in (0, 1, 2, 3, 4, 8, 15, 16)}
    assert seen == {0: PHASES, 4: PHASES[:3], 8: PHASES[:3], 16: PHASES} | {n: ["G", "D"] for n in (1, 2, 3, 15)}
    generator, discriminator = model.optimizers["G"], model.optimizers["D"]
    assert (generator.lr, generator.betas) == (0.002 * 4 / 5, (0, 0.99 ** (4 / 5)))
    assert (discriminator.lr, discriminator.betas) == (0.001 * 16 / 17, (0, 0.99 ** (16 / 17)))
    model = recipe("--lambda_path", "0", "--lambda_r1", "0")
    assert [phase for phase, _ in model.training_step(batch(), 0)] == ["G", "D"]
    assert model.optimizers["G"].betas == model.optimizers["D"].betas == (0, 0.99)


def test_path_length_face_by_face_and_its_mean():
    model = recipe("--lambda_path", "3")
    generator = model.networks["G"]
    lr = batch()["lr"]
    model.state["path_length"].fill_(0.5)
    torch.manual_seed(4)
    phases = dict(model.training_step(batch(), 0))
    torch.manual_seed(4)
    with torch.no_grad():
        latents, features = generator.encode(lr)
        noise = torch.randn_like(generator(lr)) / 16
    lengths = []
    for i in range(2):  # one face at a time
        w = latents[i:i + 1].requires_grad_()
        face = generator.generator(w, [f[i:i + 1] for f in features])
        slope, = torch.autograd.grad((face * noise[i]).sum(), w)
        lengths.append((slope[0] ** 2).sum(1).mean().sqrt())
    lengths = torch.stack(lengths)
    mean = 0.5 + 0.01 * (lengths.mean() - 0.5)
    torch.testing.assert_close(model.state["path_length"], mean)
    torch.testing.assert_close(phases["G_reg"]["Path"], 3 * 2 * ((lengths - mean) ** 2).mean(), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_lazy_phases_are_float32_whatever_the_precision(half):
    """Penalties and gradients equal those of a float32 network whose weights were rounded to half precision."""
    words = ["--lambda_r1", "2", "--lambda_path", "2"]
    low, wide = recipe(*words), recipe(*words)
    for role in ("G", "D"):
        net = low.networks[role]
        amp.initialize(net, torch.optim.Adam(net.parameters()), "O2", half=half)
        assert {p.dtype for p in net.parameters()} == {half, torch.float32}  # linear layers stay float32
        wide.networks[role].load_state_dict({n: p.detach() for n, p in net.named_parameters()}, strict=False)
        inputs = batch()["lr"]
        torch.testing.assert_close(in_float32(net, inputs), wide.networks[role](inputs), rtol=0, atol=0)
    found = []
    for model in (low, wide):
        torch.manual_seed(3)
        penalties = model._path_penalty(batch()["lr"]), model._r1_penalty(batch()["hr"])
        sum(penalties).backward()
        found.append((penalties, [p.grad for role in ("G", "D") for p in model.networks[role].parameters()]))
    assert all(torch.equal(a, b) for a, b in zip(found[0][0], found[1][0], strict=True))
    for mine, theirs in zip(found[0][1], found[1][1], strict=True):
        if theirs is not None:
            torch.testing.assert_close(mine.float(), theirs.to(mine.dtype).float(), rtol=0.01, atol=1e-4)


@pytest.mark.parametrize("size", [64, 128, 256, 512, 1024])
def test_identity_crops_show_the_same_face_at_every_size(size):
    """Uses an image whose values are its own coordinates, in pixels of a 256-pixel face."""
    place = (torch.arange(size) + 0.5) * 256 / size
    faces = torch.stack([place[:, None].expand(size, size), place.expand(size, size), torch.zeros(size, size)])[None]
    for (height, width), left, right in (((112, 112), 32, 220), ((112, 96), 32 + 188 / 14, 220 - 188 / 14)):
        crop = loss.identity_crop(faces, (height, width))
        step = 256 / size  # one pixel of this size
        assert crop.shape == (1, 3, height, width)
        rows = 35 + (torch.arange(height) + 0.5) * 188 / height
        columns = left + (torch.arange(width) + 0.5) * (right - left) / width
        assert float((crop[0, 0, :, 0] - rows).abs().max()) < step + 0.6
        assert float((crop[0, 1, 0] - columns).abs().max()) < step + 0.6
    if size == 256:  # exactly the published crop
        assert torch.equal(loss.identity_crop(faces, (112, 112)),
                           F.adaptive_avg_pool2d(faces[:, :, 35:223, 32:220], (112, 112)))


def test_the_decoder_has_its_own_learning_rate():
    """Adam's first step moves each weight by its learning rate."""
    model = recipe("--decoder_lr_factor", "0.1", "--lr", "0.01", "--lambda_path", "0")
    assert model.optimizers["G"].lr == 0.01
    generator = model.networks["G"]
    before = {name: p.detach().clone() for name, p in generator.named_parameters()}
    inner = utils.device.make_optimizer(model.optimizers["G"], model.optimizers["G"].parameter_groups(model.networks),
                                   torch.device("cpu"), "O0")
    _, optimizer = amp.initialize(generator, inner, "O0")
    optimizer.set_lr(0.01)
    sum(p.sum() for p in generator.parameters()).backward()
    optimizer.step()
    moved = {name: float((p.detach() - before[name]).abs().max()) for name, p in generator.named_parameters()}
    assert {name for name, m in moved.items() if m == pytest.approx(0.001, rel=0.01)} == {
        name for name in moved if name.startswith("generator.")}
    assert all(m == pytest.approx(0.01, rel=0.01) for name, m in moved.items() if not name.startswith("generator."))
    spec = AdamSpec(("G",), 1.0, (0, 0.9))
    assert len(spec.parameter_groups(model.networks)) == 1


@pytest.mark.parametrize("words", [
    ["--opt_level", "O0"], ["--opt_level", "O2"], ["--opt_level", "O0", "--stage", "prior"],
    ["--opt_level", "O2", "--combine_grad", "false", "--accumulate", "2", "--batch_size", "2"],
], ids=["O0", "O2", "prior", "accumulated"])
def test_resume_is_bit_equal(train, monkeypatch, words):
    words = [*words, "--train_steps", 4, "--path_every", 3]
    whole, folder = whole_and_parts(train, monkeypatch, 2, *words)
    parts = state(folder)
    assert set(whole["networks"]) == set(whole["optimizers"]) == {"G", "D"} and set(whole["ema"]) == {"G"}
    assert float(whole["recipe"]["path_length"]) > 0
    for part in ("networks", "ema", "optimizers", "recipe"):
        assert same(whole[part], parts[part]) == ""


def test_it_learns_in_half_precision_as_in_float32(train):
    words = ["--train_steps", 8, "--print_freq", 8]
    runs = [read_metrics(train(*words, "--opt_level", level, name=level)[1])[0] for level in ("O0", "O2")]
    names = [name for name in runs[0] if name.startswith("Loss_")]
    assert names == ["Loss_G", "Loss_Pix", "Loss_FM", "Loss_Path", "Loss_D", "Loss_R1"]
    for name in names:
        assert runs[0][name] == pytest.approx(runs[1][name], rel=0.1, abs=0.05)


def test_the_prior_learns_by_itself_and_is_embedded(train, faces, tmp_path):
    """Stage prior leaves the encoder unchanged. Stage embed starts from the prior's generator and discriminator."""
    _, folder = train("--stage", "prior", "--train_steps", 4, name="prior")
    assert "samples.png (SR | EMA | HR)" in (folder / "train.log").read_text()
    saved = state(folder)["networks"]["G"]
    torch.manual_seed(parse_train(small_gpen()).seed)
    first = recipe_weights()
    moved = {name for name in saved if not torch.equal(saved[name], first[name])}
    assert moved and all(name.startswith("generator.") for name in moved)
    weights = str(folder / "latest_net_G.pth")
    with pytest.raises(UserError, match="generate faces and do not restore any.*gpen_embed"):
        parse_and_build_test(weights, faces)
    with pytest.raises(UserError, match="--stage embed: --pretrain_model_path FILE is needed"):
        train("--stage", "embed", name="embedded")
    with pytest.raises(UserError, match="--stage prior restores no faces.*Leave out --val_count"):
        train("--stage", "prior", "--val_count", 2, name="validated")
    _, embedded = train("--stage", "embed", "--pretrain_model_path", weights, "--pretrain_d_path",
                        folder / "latest_net_D.pth", "--train_steps", 1, "--lr", 0, "--d_lr", 0, name="embedded")
    saved = state(embedded)["networks"]
    assert train("--stage", "embed", "--train_steps", 1, "--continue_train", name="embedded")[0] == 0  # needs no FILE
    assert same(saved["G"], load_weights(network(), weights).state_dict()) == ""
    assert same(saved["D"], state(folder)["networks"]["D"]) == ""
    parse_and_build_test(str(embedded / "latest_net_G.pth"), faces)


def test_styles_of_the_prior():
    """Styles are normally distributed. With probability 0.9 a face mixes two, changing at a random layer; else one."""
    model = recipe("--stage", "prior")
    layers, dim = model.style_shape
    count = 600
    crossings = []
    for _ in range(count):
        styles = model._styles(torch.empty(2, 3, 16, 16))
        assert styles.shape == (2, layers, dim) and not torch.equal(styles[0], styles[1])
        changes = (styles.diff(dim=1) != 0).any(2)
        assert torch.equal(changes[0], changes[1]) and int(changes[0].sum()) <= 1
        crossings.append(int(changes[0].nonzero()[0]) + 1 if changes[0].any() else None)
    assert 1 - crossings.count(None) / count == pytest.approx(0.9, abs=4 * (0.9 * 0.1 / count) ** 0.5)
    assert set(crossings) - {None} == set(range(1, layers))
    many = model._styles(torch.empty(2000, 3, 16, 16))
    assert abs(float(many.mean())) < 0.05 and float(many.std()) == pytest.approx(1, abs=0.05)


def test_pictures_show_the_weights_in_training_and_their_average():
    model = recipe()
    model.release({"G": network()})
    faces = batch()
    with torch.no_grad():
        shown = model.pictures(faces)
        assert list(shown) == ["LR", "SR", "EMA", "HR"]
        torch.testing.assert_close(shown["SR"], model.networks["G"](faces["lr"]))
        torch.testing.assert_close(shown["EMA"], model.released("G")(faces["lr"]))


def test_the_perceptual_loss_has_its_weight():
    model = recipe()
    layer = torch.nn.Conv2d(3, 4, 3)
    model.frozen, model.weights["pcp"] = {"vgg19": lambda faces: [layer(faces), faces]}, 0.5
    fake, real = batch().values()
    found = model._generator_losses(fake, real)["Pcp"]
    torch.testing.assert_close(found, 0.5 * ((layer(fake) - layer(real)).abs().mean() + (fake - real).abs().mean()))


def recipe_weights():
    weights = build_training_recipe(parse_train(small_gpen())).networks["G"].state_dict()
    return {name: value.clone() for name, value in weights.items()}


def network():
    return GPEN(16, 1, 0.016, 8)


def parse_and_build_test(weights, faces):
    recipe = build_recipe(parse_test(["--pth_path", weights, "--dataroot", str(faces)]))
    recipe.check_restores()


def test_training_goes_on_from_released_generator_and_discriminator(train, tmp_path, faces):
    """The public code saves g, g_ema and d in one file. The generator starts from g_ema."""
    torch.manual_seed(8)
    nets = {"g": network(), "g_ema": network(), "d": Discriminator(16, 1, 0.016)}
    torch.save({name: net.state_dict() for name, net in nets.items()}, tmp_path / "released.pth")
    _, folder = train("--pretrain_model_path", tmp_path / "released.pth", "--pretrain_d_path",
                      tmp_path / "released.pth", "--train_steps", 1, "--lr", 0, "--d_lr", 0)
    saved = state(folder)["networks"]
    assert same(saved["G"], nets["g_ema"].state_dict()) == "" and same(saved["D"], nets["d"].state_dict()) == ""
    with pytest.raises(UserError, match="--pretrain_d_path is not read here: --lambda_g is 0"):
        Trainer(parse_train(["--dataroot", str(faces), "--device", "cpu", "--pretrain_d_path", "x.pth",
                             "--batch_size", "1", "--checkpoints_dir", str(tmp_path)]))


def test_two_ranks_equal_one_with_twice_the_batch_but_for_its_deviation(tmp_path, train, faces, monkeypatch):
    """Each rank computes its own standard deviation over the batch: both runs use that of one face (0) here.
    Phase G_reg is off, because the ranks draw different random numbers."""
    words = ["--train_steps", 1, "--lambda_path", 0, "--batch_size", 1]
    run_ranks(2, tmp_path, faces, "--name", "two", tiny=small_gpen(*words))
    from models.stylegan2 import BatchDeviation
    monkeypatch.setattr(BatchDeviation, "forward", lambda self, x: torch.cat(
        [x, torch.full_like(x[:, :1], 1e-4)], 1))
    one, two = state(train(*words, "--batch_size", 2, name="one")[1]), state(tmp_path / "two")
    assert one["progress"]["losses"] == pytest.approx(two["progress"]["losses"], rel=1e-4)
    for name in ("G", "D"):
        mine, theirs = ({n: v["exp_avg_sq"] for n, v in saved["optimizers"][name]["params"].items()}
                        for saved in (one, two))
        assert largest_difference(mine, theirs) < 1e-4 * max(float(t.abs().max()) for t in mine.values())


def test_ranks_share_the_mean_path_length(train, monkeypatch):
    """The run uses and saves the mean path length averaged over the ranks."""
    alone = state(train("--train_steps", 1, name="alone")[1])["recipe"]["path_length"]
    monkeypatch.setattr(distributed, "average_", lambda tensors: [tensor.mul_(2) for tensor in tensors])
    assert float(state(train("--train_steps", 1, name="two")[1])["recipe"]["path_length"]) == 2 * float(alone) > 0


def test_the_simulated_npu_computes_what_the_cpu_does(npu, train, same_rounding):
    words = ["--train_steps", 5, "--opt_level", "O0", "--lambda_path", 0]  # the devices draw different random numbers
    cpu, simulated = (state(train(*words, "--device", d, name=d)[1]) for d in ("cpu", "npu"))
    for part in ("networks", "ema", "optimizers"):
        assert same(cpu[part], simulated[part]) == ""
    half = state(train("--train_steps", 5, "--device", "npu", name="half")[1])  # O2 in float16, the NPU's default
    assert half["optimizers"]["G"]["scaler"]["skipped"] == half["optimizers"]["D"]["scaler"]["skipped"] == 0
    for name, value in cpu["progress"]["losses"].items():
        assert half["progress"]["losses"][name] == pytest.approx(value, rel=0.05, abs=0.02)


def test_the_identity_loss_asks_for_its_file(tmp_path):
    with pytest.raises(UserError, match="--arcface_path FILE is needed.*ir_se50.*--lambda_id 0 turns this loss off"):
        recipe("--lambda_id", "1")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="--arcface_path: the weights of"):
        recipe("--lambda_id", "1", "--arcface_path", str(tmp_path / "other.pth"))
    for option in ("--arcface_path", "--vgg19_path"):  # no loss uses this file
        with pytest.raises(UserError, match=f"{option} is not read here: --lambda_(id|pcp) is 0, which leaves that"):
            recipe(option, "x.pth")
        with pytest.raises(UserError, match=f"{option} is not read here: --stage prior trains with the adversarial"):
            recipe(option, "x.pth", "--stage", "prior")
    for option in ("--lambda_fm", "--lambda_pix"):
        with pytest.raises(UserError, match=f"{option} is not read here: --stage prior"):
            recipe(option, "1", "--stage", "prior")


@pytest.mark.parametrize("words, message", [
    (["--load_size", "48"], "--load_size 48 .*size must be a power of two from 8 to 2048, not 48"),
    (["--load_size", "512", "--narrow", "0.03"], "--narrow 0.03: .*too narrow: it has no channels at 512 pixels"),
    (["--narrow", "inf"], "--narrow: invalid float value: 'inf'")])
def test_networks_that_cannot_be_built(words, message):
    with pytest.raises(UserError, match=message):
        recipe(*words)


PUBLISHED = {"lr": 0.002, "d_lr": 0.002, "beta1": 0, "beta2": 0.99, "lambda_pix": 1, "lambda_id": 1, "lambda_r1": 10,
             "r1_every": 16, "lambda_path": 2, "path_every": 4, "lambda_pcp": 0, "decoder_lr_factor": 1}


@pytest.mark.parametrize("preset, others", [
    ("gpen_blind_upstream", {"lambda_fm": 0, "opt_level": "O0"}), ("gpen_blind", {"lambda_fm": 0.02}),
    ("gpen_256_narrow", {"lambda_fm": 0.02}), ("gpen_inpainting", {"dataset_name": "inpainting"}),
    ("gpen_colorization", {"dataset_name": "colorization", "val_protocol": "rgb"}),
    ("gpen_seg2face", {"dataset_name": "seg2face", "load_size": 512}),
    ("gpen_prior", {"stage": "prior", "dataset_name": "colorization"}),
    # Learning rates of encoder, decoder and discriminator are 100 : 10 : 1.
    ("gpen_embed", {"stage": "embed", "decoder_lr_factor": 0.1, "d_lr": 0.00002})])
def test_presets_have_the_published_numbers(preset, others):
    options = vars(parse_train(["--preset", preset]))
    expected = PUBLISHED | others
    assert {name: options[name] for name in expected} == expected
    assert options["ema_decay"] == pytest.approx(0.5 ** (32 / 10000), abs=1e-5)


@pytest.mark.parametrize("preset, network", [
    ("gpen_blind", "gpen_512"), ("gpen_256_narrow", "gpen_256_narrow"), ("gpen_inpainting", "gpen_1024")])
def test_presets_build_the_released_networks(preset, network, arcface_path):
    with torch.device("meta"):
        expected = create_network(network).state_dict(), create_network(f"{network}_discriminator").state_dict()
        options = parse_train(["--preset", preset, "--lambda_id", "0"])
        built = build_training_recipe(options).networks
    for wanted, role in zip(expected, ("G", "D"), strict=True):
        assert {k: v.shape for k, v in wanted.items()} == {k: v.shape for k, v in built[role].state_dict().items()}
