# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""ncnn's RRDBNet becomes weights for newphoto.py --bg_path."""
import sys
import zipfile

import numpy as np
import pytest
import torch

from models.rrdbnet import RRDBNet
from restore.background import Background
from tools import rrdbnet_from_ncnn
from utils.errors import UserError


def write_pair(folder, network):
    """Writes a network as ncnn does: weights of 16 bits behind a flag, then biases of 32 bits."""
    layers, content = ["7767517", "99 99", "Input in0 0 1 in0"], b""
    state = network.state_dict()
    for key in state:
        if key.endswith(".weight"):
            weight, bias = state[key], state[key.replace(".weight", ".bias")]
            layers.append(f"Convolution conv 1 1 a b 0={weight.shape[0]} 1=3 4=1 5=1 6={weight.numel()} 9=2 "
                          f"-23310=1,2.000000e-01")
            half = weight.numpy().astype(np.float16).tobytes()
            content += (0x01306B47).to_bytes(4, "little") + half + bytes(-len(half) % 4) + bias.numpy().tobytes()
    (folder / "net.param").write_text("\n".join(layers) + "\n")
    (folder / "net.bin").write_bytes(content)


@pytest.mark.parametrize("packed", [False, True])
def test_a_model_is_converted(tmp_path, monkeypatch, packed):
    torch.manual_seed(0)
    network = RRDBNet(5, 2, 3)
    write_pair(tmp_path, network)
    source, target = tmp_path, tmp_path / "out.safetensors"
    if packed:
        source = tmp_path / "a.whl"
        with zipfile.ZipFile(source, "w") as archive:
            for ending in ("param", "bin"):
                archive.write(tmp_path / f"net.{ending}", f"{rrdbnet_from_ncnn.FOLDER}/net.{ending}")
    monkeypatch.setattr(sys, "argv", ["rrdbnet_from_ncnn", str(source), str(target), "--name", "net"])
    rrdbnet_from_ncnn.main()
    found = Background.load(target, torch.device("cpu")).network.state_dict()
    for key, tensor in network.state_dict().items():
        torch.testing.assert_close(found[key], tensor, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("break_it, message", [
    (lambda folder: (folder / "net.bin").write_bytes(bytes(40)), "cannot|can be read"),
    (lambda folder: (folder / "net.bin").unlink(), "no model net can be read"),
    (lambda folder: (folder / "net.param").write_text("a\nb\n"), "it is no RRDBNet")])
def test_other_files_are_refused_in_a_line(tmp_path, monkeypatch, break_it, message):
    write_pair(tmp_path, RRDBNet(5, 1, 3))
    break_it(tmp_path)
    monkeypatch.setattr(sys, "argv", ["x", str(tmp_path), str(tmp_path / "out.safetensors"), "--name", "net"])
    with pytest.raises(UserError, match=message) as error:
        rrdbnet_from_ncnn.main()
    assert "\n" not in str(error.value) and not (tmp_path / "out.safetensors").exists()
