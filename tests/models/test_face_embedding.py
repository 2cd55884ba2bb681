# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Face embedding networks: architecture, and the choice of network by the weight file's keys."""
import pytest
import torch
from torch.nn import functional as F

from models import face_embedding
from models.face_embedding import IRSE50, load_face_embedding
from models.weights import count_parameters
from tests.helpers.released import fill, probe
from utils.errors import UserError


def test_the_networks_are_those_of_the_public_files(embedding, monkeypatch):
    assert count_parameters(load_face_embedding(embedding)) == 999_552
    with torch.device("meta"):
        net = IRSE50()
    assert count_parameters(net) == 43_797_696
    shapes = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    assert len([key for key in shapes if key.startswith("body.") and key.endswith("res_layer.5.fc1.weight")]) == 24
    assert shapes["input_layer.2.weight"] == (64,) and shapes["output_layer.3.weight"] == (512, 25088)
    assert shapes["body.3.shortcut_layer.0.weight"] == (128, 64, 1, 1)
    assert "body.0.shortcut_layer.0.weight" not in shapes
    monkeypatch.setattr(face_embedding, "IRSE50", lambda: net.to_empty(device="cpu"))
    monkeypatch.setattr(face_embedding, "read_weights", lambda path: {
        key: torch.zeros(()).expand(shape) for key, shape in shapes.items()})
    assert load_face_embedding("model_ir_se50.pth") is net


def test_irse50s_block_computed_plainly():
    block = face_embedding._ImprovedResidual(16, 32, stride=2)
    block.load_state_dict(fill(block.state_dict()))
    s, x = block.eval().state_dict(), probe((2, 16, 8, 8), 0)

    def norm(x, key):
        return F.batch_norm(x, s[f"{key}.running_mean"], s[f"{key}.running_var"], s[f"{key}.weight"], s[f"{key}.bias"])
    y = F.conv2d(norm(x, "res_layer.0"), s["res_layer.1.weight"], padding=1)
    y = torch.where(y > 0, y, y * s["res_layer.2.weight"].view(1, -1, 1, 1))
    y = norm(F.conv2d(y, s["res_layer.3.weight"], stride=2, padding=1), "res_layer.4")
    squeezed = F.relu(y.mean((2, 3)) @ s["res_layer.5.fc1.weight"][..., 0, 0].T)
    y = y * torch.sigmoid(squeezed @ s["res_layer.5.fc2.weight"][..., 0, 0].T)[..., None, None]
    shortcut = norm(F.conv2d(x, s["shortcut_layer.0.weight"], stride=2), "shortcut_layer.1")
    torch.testing.assert_close(block(x), y + shortcut)


def test_other_files_are_refused_with_the_addresses(tmp_path):
    torch.save({"fc.weight": torch.zeros(3)}, tmp_path / "other.pth")
    for name in ("other.pth", "none.pth"):
        with pytest.raises(UserError, match="--identity_path: the weights of a MobileFaceNet.*IR-SE50 .*https://"):
            load_face_embedding(str(tmp_path / name))
