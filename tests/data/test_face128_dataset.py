# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Blind restoration at 128 pixels: data/face128_chain.py, and residual networks, which start as the identity."""
import numpy as np
import pytest
import torch
from PIL import Image

from data import find_dataset, find_degradation, training_dataset
from data.face128_chain import NOISE_SIGMA, QUALITY, SMALLEST, degrade_face128, random_size
from data.face128_dataset import Face128Dataset
from data.face_folder import Place
from models.init import init_weights
from models.sparnet import SPARNet
from options.train_options import parse_train
from tests.conftest import write_faces
from utils.errors import UserError
from utils.images import resize

TINY = {"in_size": 32, "out_size": 32, "min_ch": 4, "max_ch": 8, "hourglass_ch": 4, "res_depth": 0,
        "bottleneck_size": 16}


@pytest.fixture(scope="module")
def face():
    """Returns a smooth image with some grain, uint8 [128, 128, 3]."""
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)).resize((128, 128), Image.BICUBIC)
    return np.clip(np.asarray(smooth) + rng.integers(-8, 9, (128, 128, 1)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def drawn(face):
    """Returns [(target, degraded, record)] of 1000 draws."""
    return [degrade_face128(face, np.random.default_rng(seed)) for seed in range(1000)]


def test_sizes_are_drawn_from_12_to_128_and_many_are_whole():
    rng = np.random.default_rng(0)
    sizes = np.array([random_size(128, rng) for _ in range(4000)])
    assert sizes.min() == SMALLEST and sizes.max() == 128
    assert (sizes == 128).mean() == pytest.approx(0.2, abs=0.03)
    assert np.median(sizes[sizes < 128]) == pytest.approx((12 * 128) ** 0.5, rel=0.1)  # log-uniform


def test_face256_reduces_faces_of_256_pixels_to_32_or_more():
    options = parse_train(["--preset", "face256"])
    assert (options.load_size, options.residual, options.dataset_name) == (256, True, "face128")
    degradation = find_degradation(options.dataset_name, options.degradation)
    rng = np.random.default_rng(0)
    sizes = np.array([random_size(256, rng, degradation.smallest_input) for _ in range(2000)])
    assert (sizes.min(), sizes.max()) == (32, 256)
    face = np.full((256, 256, 3), 90, np.uint8)
    hr, lr, _ = degradation.make(face, np.random.default_rng(1), 256, 8)
    assert np.array_equal(hr, face) and lr.shape == (256, 256, 3)


def test_shares_and_ranges_of_what_is_drawn(drawn):
    records = [record for *_, record in drawn]
    clean = [r for r in records if not {"blur", "noise", "quality"} & r.keys()]
    assert 0.17 < len(clean) / len(records) < 0.33  # 0.15 by choice, and 0.085 because no step is drawn
    for name, share in (("blur", 0.425), ("noise", 0.425), ("quality", 0.51), ("grey", 0.05)):
        assert np.mean([name in r for r in records]) == pytest.approx(share, abs=0.05)
    noise, quality = ([r[name] for r in records if name in r] for name in ("noise", "quality"))
    assert NOISE_SIGMA[0] <= min(noise) < 2 and 19 < max(noise) <= NOISE_SIGMA[1]
    assert (min(quality), max(quality)) == QUALITY
    assert all(1 < r["sigma"] < 7 for r in records if "sigma" in r and r["low_size"] < 20)
    assert all(r["size"] % 2 for r in records if r.get("blur") == "motion")


def test_clean_faces_are_left_alone_or_only_made_smaller(face, drawn):
    whole = [d for d in drawn if d[2] == {"low_size": 128}]
    assert whole and all(np.array_equal(low, face) for _, low, _ in whole)
    small = [d for d in drawn if d[2].keys() == {"low_size", "filter"} and d[2]["filter"] == "bicubic"]
    for _, low, record in small:
        again = resize(resize(Image.fromarray(face), record["low_size"]), 128)
        assert np.array_equal(low, np.asarray(again))
    assert small


def test_grey_faces_have_grey_targets(face, drawn):
    for target, low, record in drawn:
        assert low.shape == face.shape and low.dtype == np.uint8
        if record.get("grey"):
            assert np.ptp(target, axis=2).max() == 0
        else:
            assert target is face


def test_a_sample_comes_from_seed_epoch_and_index_alone(tmp_path):
    write_faces(tmp_path, 3, size=(178, 218))
    paths = sorted(map(str, tmp_path.iterdir()))
    for augmentation in ("aligned", "none"):
        a, b = (Face128Dataset(paths, 128, augmentation=augmentation) for _ in range(2))
        first, again, later = a[Place(0, 1)], b[Place(0, 1)], a[Place(1, 1)]
        assert first["hr"].shape == first["lr"].shape == (128, 128, 3)
        assert all(np.array_equal(first[name], again[name]) for name in ("lr", "hr"))
        assert not np.array_equal(first["lr"], later["lr"])
        assert np.array_equal(first["hr"], later["hr"]) == (augmentation == "none")


def test_only_datasets_that_align_take_the_aligned_augmentation(faces):
    for name in ("face128", "celeba"):
        options = parse_train(["--dataset_name", name, "--augmentation", "aligned", "--dataroot", str(faces)])
        assert training_dataset(options)[0] is find_dataset(name)
    options = parse_train(["--dataset_name", "ffhq", "--augmentation", "aligned", "--dataroot", str(faces)])
    with pytest.raises(UserError, match="--augmentation aligned is for --dataset_name celeba and face128, not for f"):
        training_dataset(options)


def test_a_residual_network_begins_at_its_input_and_keeps_the_keys():
    torch.manual_seed(0)
    plain, residual = SPARNet(**TINY), SPARNet(**TINY, residual=True)
    assert list(plain.state_dict()) == list(residual.state_dict())
    init_weights(residual, "kaiming")
    plain.load_state_dict(residual.state_dict())
    x = torch.rand(1, 3, 32, 32) * 2 - 1
    plain.eval()
    residual.eval()
    with torch.no_grad():
        torch.testing.assert_close(residual(x), x + plain(x))
        residual.start_at_input()
        assert torch.equal(residual(x), x)
    with pytest.raises(ValueError, match="residual"):
        SPARNet(**TINY | {"out_size": 64}, residual=True)


def test_the_presets_networks_and_a_first_training(train):
    options = parse_train(["--preset", "face128"])
    assert options.residual and options.dataset_name == "face128" and options.opt_level == "O0"
    assert not parse_train(["--preset", "sparnet_robust"]).residual
    status, run = train("--residual", "--dataset_name", "face128", "--augmentation", "aligned", "--train_steps", 4,
                        "--ema_decay", 0.9, "--val_count", 3)
    assert status == 0
    weights = torch.load(run / "best_net_G.pth", weights_only=True)
    assert weights["out_conv.conv2d.weight"].abs().max() > 0  # zero at the start: it was trained
    assert "input" in (run / "train.log").read_text()
