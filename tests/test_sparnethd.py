"""SPARNetHD and its discriminator against the released keys and reference outputs."""
import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from models import create_network
from models.networks import count_parameters

FIXTURES = Path(__file__).parent / "fixtures"
_helpers = runpy.run_path(str(FIXTURES / "fill.py"))
fill, probe = _helpers["fill"], _helpers["probe"]
RELEASED = {"sparnethd_attn2d": 85.79, "sparnethd_attn3d": 90.09, "sparnethd_discriminator": 11.75}


@pytest.mark.parametrize("name", RELEASED)
def test_released_network(name):
    net = create_network(name).eval()
    expected = json.loads((FIXTURES / f"{name}.keys.json").read_text())
    state = net.state_dict()
    assert [(key, list(tensor.shape)) for key, tensor in state.items()] == list(expected.items())
    assert round(count_parameters(net) / 1e6, 2) == RELEASED[name]
    net.load_state_dict(fill(state), strict=True)
    with torch.no_grad():
        found = net(probe((1, 3, 512, 512), 0))
    outputs = [found[..., ::8, ::8]] if torch.is_tensor(found) else [score for _, score in found]
    references = np.load(FIXTURES / f"{name}.seed0.npz")
    assert len(references.files) == len(outputs)
    for i, output in enumerate(outputs):
        reference = torch.from_numpy(references[f"out{i}"])
        assert output.shape == reference.shape
        assert (output - reference).abs().max() < 1e-4 * reference.abs().max()


def test_accelerator_friendly_widths():
    net = create_network("sparnethd_attn2d", channel_multiple=16)
    widths = {module.out_channels for name, module in net.named_modules()
              if isinstance(module, torch.nn.Conv2d) and "att_func" not in name and name != "out_conv.conv2d"}
    assert widths == {96, 192, 384, 512}


def test_a_training_step_moves_the_singular_vectors_and_evaluation_does_not():
    net = create_network("sparnethd_discriminator", scales=1, base_ch=4, max_ch=8, layers=2)
    layer = net.D_pool[0].model[1].conv2d
    before = layer.weight_u.clone()
    x = probe((2, 3, 32, 32), 0)
    net.eval()(x)
    assert torch.equal(layer.weight_u, before)
    for _ in range(30):
        net.train()(x)
    assert not torch.equal(layer.weight_u, before)
    assert float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)) == pytest.approx(1, abs=1e-3)


def test_scales_see_halvings_of_the_picture():
    net = create_network("sparnethd_discriminator", scales=2, base_ch=4, max_ch=8, layers=1).eval()
    x = probe((1, 3, 32, 32), 0)
    half = F.interpolate(x, size=(16, 16), mode="bicubic", align_corners=False)
    features, score = net(x)[1]
    expected_features, expected = net.D_pool[1](half)
    assert torch.equal(score, expected) and len(features) == 2
    assert all(torch.equal(a, b) for a, b in zip(features, expected_features, strict=True))
