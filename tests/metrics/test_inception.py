# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""FID's InceptionV3 against the reference network's features."""
import json
import math

import numpy as np
import pytest
import torch

from metrics.inception import INCEPTION_ADDRESS, InceptionFeatures, load_inception
from tests.helpers.paths import FIXTURES
from tests.helpers.released import fill, probe, relative
from utils.errors import UserError


def weights_of(net):
    """Returns `fill` with stronger convolutions, because each ReLU halves the variance.

    With plain `fill`, features of different images differ by only 7e-5 of the largest; here they differ by 1e-2.
    """
    return {key: value * math.sqrt(2) if key.endswith("conv.weight") else value
            for key, value in fill(net.state_dict()).items()}


@pytest.fixture(scope="module")
def inception(tmp_path_factory):
    """Returns the network, loaded from a file with every key of the public one, and the file's tensors."""
    weights = weights_of(InceptionFeatures())
    path = tmp_path_factory.mktemp("inception") / "inception.pth"
    torch.save(weights | {"fc.weight": torch.zeros(1008, 1), "fc.bias": torch.zeros(1008),
                          "AuxLogits.conv0.conv.weight": torch.zeros(1)}, path)
    return load_inception(path), weights


def test_features_are_the_references(inception):
    net, weights = inception
    expected = json.loads((FIXTURES / "inception_fid.keys.json").read_text())
    assert [(key, list(tensor.shape)) for key, tensor in weights.items()] == list(expected.items())
    features = net(probe((1, 3, 299, 299), 0))
    reference = torch.from_numpy(np.load(FIXTURES / "inception_fid.seed0.npz")["out0"])
    assert features.shape == (1, 2048) and relative(features, reference) < 1e-4
    assert relative(net(probe((1, 3, 299, 299), 1)), reference) > 5e-3  # another image has other features
    assert not net.training and not any(p.requires_grad for p in net.parameters())


def bilinear(picture, side):
    """Resizes `picture` (HWC) to side x side: bilinear, half-pixel centres, no antialiasing."""
    for axis in (0, 1):
        length = picture.shape[axis]
        place = np.clip((np.arange(side) + 0.5) * length / side - 0.5, 0, length - 1)
        low = np.floor(place).astype(int)
        part = (place - low).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        high = np.minimum(low + 1, length - 1)
        picture = picture.take(low, axis) * (1 - part) + picture.take(high, axis) * part
    return picture


@pytest.mark.parametrize("size", [(64, 80), (512, 400)])
def test_pictures_are_resized_as_pytorch_fid_does(inception, size):
    net, _ = inception
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    # pytorch-fid's order: uint8 to [0, 1], to 299 x 299, to [-1, 1]. At 299 pixels the network does not resize.
    resized = 2 * bilinear(picture / 255, 299) - 1
    seen = []
    handle = net[0].register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
    given = net(torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1)
    expected = net(torch.from_numpy(resized).permute(2, 0, 1)[None].float())
    handle.remove()
    # 1e-4: torch (and thus pytorch-fid) computes positions in float32, here with errors up to 2e-5 of a pixel.
    torch.testing.assert_close(seen[0][0].permute(1, 2, 0).double(), torch.from_numpy(resized), rtol=0, atol=1e-4)
    assert relative(given, expected) < 1e-4


def test_another_file_is_refused_with_the_address(inception, tmp_path):
    _, weights = inception
    torch.save({"Conv2d_1a_3x3.conv.weight": torch.zeros(32, 3, 3, 3)}, tmp_path / "short.pth")
    torch.save({"fc.weight": torch.zeros(1000, 1), "fc.bias": torch.zeros(1000)}, tmp_path / "imagenet.pth")
    for name, reason in (("short.pth", "another kind of network"), ("gone.pth", "gone.pth: there is no such file"),
                         ("imagenet.pth", "imagenet.pth' is an InceptionV3 of 1000 classes; FID's has 1008")):
        with pytest.raises(UserError, match=f"(?s)^--fid_path: .*{INCEPTION_ADDRESS}.*{reason}"):
            load_inception(tmp_path / name)


def test_file_without_classifier_and_counters_loads(inception, tmp_path):
    _, weights = inception
    bare = {key: value for key, value in weights.items() if not key.endswith("num_batches_tracked")}
    torch.save(bare, tmp_path / "bare.pth")
    own = load_inception(tmp_path / "bare.pth").state_dict()
    assert all(torch.equal(own[key], value) for key, value in bare.items())
