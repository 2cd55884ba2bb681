# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""models/lpips.py against torchmetrics' LPIPS on the same AlexNet, and against ST-LPIPS's own code."""
from importlib.resources import files

import pytest
import torch
import torchmetrics.functional.image.lpips as reference
from torch import nn

from models import lpips
from models.lpips import ALEXNET_ADDRESS, LPIPS, load_lpips
from tests.helpers.lpips_file import shift_tolerant_file
from tests.helpers.released import fill, probe
from utils.errors import UserError


@pytest.fixture(scope="module")
def alexnet(tmp_path_factory):
    """Returns the path of a file with the keys of torchvision's AlexNet, and its convolutions' tensors."""
    net = LPIPS("lpips", lpips.alexnet_layers(), (1,))
    weights = {key: value for key, value in fill(net.state_dict()).items() if key.startswith("features.")}
    path = tmp_path_factory.mktemp("alexnet") / "alexnet.pth"
    torch.save(weights | {"classifier.1.weight": torch.zeros(2, 2), "classifier.1.bias": torch.zeros(2)}, path)
    return path, weights


def torchvision_features(weights):
    """Returns AlexNet's convolutions with torchvision's layer numbers, which torchmetrics uses."""
    layers = nn.Sequential(nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
                           nn.Conv2d(64, 192, 5, 1, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
                           nn.Conv2d(192, 384, 3, 1, 1), nn.ReLU(), nn.Conv2d(384, 256, 3, 1, 1), nn.ReLU(),
                           nn.Conv2d(256, 256, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(3, 2))
    layers.load_state_dict({key.removeprefix("features."): value for key, value in weights.items()})
    return layers


@pytest.mark.parametrize("size", [(31, 31), (64, 64), (96, 70)])
def test_equals_torchmetrics(alexnet, monkeypatch, size):
    path, weights = alexnet
    monkeypatch.setattr(reference, "_get_tv_model_features", lambda name, pretrained: torchvision_features(weights))
    theirs, net = reference._LPIPS(net="alex"), load_lpips(path)
    a, noise = probe((3, 3, *size), 0), probe((3, 3, *size), 1)
    b = a + torch.tensor([0.05, 0.3, 1.0]).view(3, 1, 1, 1) * (noise - a)
    found = net(a, b)
    assert found.shape == (3,)
    torch.testing.assert_close(found, theirs(a, b).flatten(), rtol=1e-5, atol=0)
    assert 0 < found[0] < found[1] < found[2] and found[2] > 0.05  # the distance grows with the difference
    torch.testing.assert_close(net(b, a), found)
    assert not net.training and not any(p.requires_grad for p in net.parameters())


def test_equal_pictures_have_no_distance(alexnet):
    a = probe((2, 3, 64, 64), 0)
    net = load_lpips(alexnet[0])
    assert net(a, a).abs().max() < 1e-9
    assert net(torch.zeros_like(a), torch.zeros_like(a)).abs().max() < 1e-9


def test_pictures_of_two_sizes_are_an_error(alexnet):
    with pytest.raises(ValueError, match=r"one size: got \(1, 3, 64, 64\) and \(2, 3, 64, 64\)"):
        load_lpips(alexnet[0])(probe((1, 3, 64, 64)), probe((2, 3, 64, 64)))


def test_another_file_is_refused_with_the_address(alexnet, tmp_path):
    _, weights = alexnet
    torch.save({key: value for key, value in weights.items() if key != "features.10.bias"}, tmp_path / "short.pth")
    for name, reason in (("short.pth", "features.10.bias"), ("gone.pth", "gone.pth: there is no such file")):
        with pytest.raises(UserError, match=f"(?s)^--lpips_path: .*{ALEXNET_ADDRESS}.*{reason}"):
            load_lpips(tmp_path / name)


def test_the_shipped_vectors_are_lpipss(alexnet, tmp_path, monkeypatch):
    theirs = files("torchmetrics") / "functional/image/lpips_models/alex.pth"
    net = load_lpips(alexnet[0])
    if theirs.is_file():
        for i, value in enumerate(torch.load(str(theirs), map_location="cpu", weights_only=True).values()):
            assert torch.equal(net.weights[i].weight, value)
    damaged = tmp_path / "vectors.safetensors"
    damaged.write_bytes(lpips.LINEAR_FILE.read_bytes().replace(b"\0\0", b"\0\1", 1))
    for path in (damaged, tmp_path / "gone"):
        monkeypatch.setattr(lpips, "LINEAR_FILE", path)
        with pytest.raises(UserError, match=f"{path} is missing or damaged"):
            load_lpips(alexnet[0])


# Name, layers, taps, first layer of each slice of their files; distances that stlpips_pytorch 0.0.2 computes.
SHIFT_TOLERANT = [
    ("st_lpips_alexnet", lpips.shift_tolerant_alexnet_layers, (2, 6, 10, 12, 14), (0, 3, 7, 11, 13),
     {(31, 33): [0.14164555, 0.14718851], (64, 50): [0.14429449, 0.15121214]}),
    ("st_lpips_vgg16", lpips.shift_tolerant_vgg16_layers, (3, 9, 17, 25, 33), (0, 4, 10, 18, 26),
     {(31, 33): [0.11582799, 0.11842594], (64, 50): [0.11743218, 0.11858982]})]


@pytest.mark.parametrize("name, layers, taps, slices, distances", SHIFT_TOLERANT)
def test_shift_tolerant_distances_are_its_authors(tmp_path, name, layers, taps, slices, distances):
    state = fill(LPIPS(name, layers(), taps).state_dict())
    state |= {key: value.abs() for key, value in state.items() if key.startswith("weights.")}
    net = load_lpips(shift_tolerant_file(tmp_path / "st.pth", slices, state))
    assert net.name == name
    for size, wanted in distances.items():
        a, b = probe((2, 3, *size), 0), probe((2, 3, *size), 1)
        torch.testing.assert_close(net(a, b), torch.tensor(wanted), rtol=1e-4, atol=0)
        assert net(a, a).abs().max() < 1e-9


def test_a_damaged_shift_tolerant_file_is_refused(tmp_path):
    _, layers, taps, slices, _ = SHIFT_TOLERANT[0]
    state = {key: value for key, value in LPIPS("", layers(), taps).state_dict().items() if key != "features.9.bias"}
    with pytest.raises(UserError, match="(?s)^--pcp_path: .*stlpips_pytorch.*features.9.bias"):
        load_lpips(shift_tolerant_file(tmp_path / "st.pth", slices, state), "--pcp_path")
