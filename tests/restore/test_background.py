# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Photos enlarged by an RRDBNet: in tiles as in one piece, and from every kind of file."""
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from models.rrdbnet import RRDBNet
from restore.background import Background
from restore.bit_depth import eight_bits, enlarged
from restore.paste_back import RestoredCrop, paste_back
from utils.errors import UserError

CPU = torch.device("cpu")
PIXELS = np.random.default_rng(0).integers(0, 256, (61, 90, 3), dtype=np.uint8)


def made():
    """An RRDBNet of one block, which sees 18 pixels around each; its results lie in [0, 1] mostly."""
    torch.manual_seed(0)
    network = RRDBNet(4, 1, 4)
    with torch.no_grad():
        network.conv_last.weight.mul_(3)
        network.conv_last.bias.fill_(0.5)
    return network


@pytest.mark.parametrize("upscale", [2, 4])
def test_tiles_are_the_whole(upscale):
    whole = Background(made(), CPU, tile=1000)(PIXELS, upscale)
    assert whole.shape == (61 * upscale, 90 * upscale, 3) and whole.std() > 10 and whole.dtype == np.uint8
    for tile in (17, 32, 61):
        steps = []
        part = Background(made(), CPU, tile)(PIXELS, upscale, lambda *step, steps=steps: steps.append(step))
        assert np.abs(part.astype(int) - whole).max() <= 1
        assert len(steps) == -(-61 // tile) * -(-90 // tile) == steps[-1][0] == steps[-1][1]
    narrow = Background(made(), CPU, 32, overlap=0)(PIXELS, upscale)
    assert np.abs(narrow.astype(int) - whole).max() > 1  # the test above would see a wrong overlap


def test_the_network_sees_the_photo_between_0_and_1_and_is_rounded():
    network = made()
    with torch.no_grad():
        expected = network(torch.from_numpy(PIXELS / np.float32(255)).permute(2, 0, 1)[None])[0].permute(1, 2, 0)
    expected = (expected.clamp(0, 1) * 255).numpy()
    assert np.abs(Background(network, CPU)(PIXELS, 4) - expected).max() <= 0.51
    averaged = expected.reshape(122, 2, 180, 2, 3).mean((1, 3))
    assert np.abs(Background(network, CPU)(PIXELS, 2) - averaged).max() <= 1


def test_16_bits():
    deep = PIXELS.astype(np.uint16) * 257
    found = Background(made(), CPU)(deep, 2)
    assert found.dtype == np.uint16 and np.abs(eight_bits(found).astype(int) - Background(made(), CPU)(PIXELS, 2)
                                               ).max() <= 1
    assert len(np.unique(found)) > 1000


@pytest.mark.parametrize("form", ["safetensors", "params_ema", "params", "plain"])
def test_files(tmp_path, form):
    state = made().state_dict()
    path = tmp_path / ("w.safetensors" if form == "safetensors" else "w.pth")
    if form == "safetensors":
        save_file(state, path)
    else:
        torch.save(state if form == "plain" else {form: state}, path)
    assert np.array_equal(Background.load(path, CPU)(PIXELS, 2), Background(made(), CPU)(PIXELS, 2))


def test_files_of_others_are_refused_in_a_line(tmp_path):
    torch.save({"params": {"conv.weight": torch.zeros(2, 2)}}, tmp_path / "other.pth")
    (tmp_path / "text.pth").write_text("<html>")
    damaged = made().state_dict()
    del damaged["conv_hr.bias"]
    torch.save(damaged, tmp_path / "part.pth")
    for name in ("other.pth", "text.pth", "none.pth", "part.pth"):
        with pytest.raises(UserError, match=name) as error:
            Background.load(tmp_path / name, CPU)
        assert name == "part.pth" or "\n" not in str(error.value)


@pytest.mark.parametrize("mode", ["delta", "crop"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_face_on_another_background(mode, dtype):
    """The face is the one that the bicubic enlargement would have; around it lies the background."""
    photo = PIXELS.astype(dtype)
    aligned = np.random.default_rng(2).integers(60, 190, (32, 32, 3), dtype=np.uint8)
    crop = RestoredCrop(np.array([(1., 0, -20), (0, 1, -10)]), aligned, aligned + np.uint8(20))
    background = np.full((122, 180, 3), 77, dtype)
    found = paste_back(photo, [crop], 2, mode, background=background.copy())
    usual = paste_back(photo, [crop], 2, mode)
    assert np.abs(found[40:64, 60:84].astype(int) - usual[40:64, 60:84]).max() <= 1
    assert (found[90:] == 77).all() and (found[:, 110:] == 77).all()
    assert np.array_equal(enlarged(photo, (180, 122))[90:], usual[90:])
