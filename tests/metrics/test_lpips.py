# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""metrics/lpips.py against torchmetrics' LPIPS on the same AlexNet."""
from importlib.resources import files

import pytest
import torch
import torchmetrics.functional.image.lpips as reference
from torch import nn

from metrics import lpips
from metrics.lpips import ALEXNET_ADDRESS, LPIPS, load_lpips
from tests.helpers.released import fill, probe
from utils.errors import UserError


@pytest.fixture(scope="module")
def alexnet(tmp_path_factory):
    """Returns the path of a file with the keys of torchvision's AlexNet, and its convolutions' tensors."""
    weights = {key: value for key, value in fill(LPIPS().state_dict()).items() if key.startswith("features.")}
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
