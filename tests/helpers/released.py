# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Compares networks with reproducible weights to the keys and outputs of released networks (tests/fixtures)."""
import json
import runpy

import numpy as np
import torch

from models import create_network
from models.weights import count_parameters
from tests.helpers.paths import FIXTURES

_helpers = runpy.run_path(str(FIXTURES / "fill.py"))
fill, probe = _helpers["fill"], _helpers["probe"]


def relative(a, b):
    return ((a - b).abs().max() / b.abs().max()).item()


def check_released(name, millions, shape, outputs):
    """Checks that the network `name` has the released keys, parameter count and outputs.

    millions: expected number of parameters in millions, as rounded text. outputs: function from the network's result to
    the list of tensors that the reference holds.
    """
    net = create_network(name).eval()
    expected = json.loads((FIXTURES / f"{name}.keys.json").read_text())
    state = net.state_dict()
    assert [(key, list(tensor.shape)) for key, tensor in state.items()] == list(expected.items())
    assert f"{count_parameters(net) / 1e6:.{len(millions.split('.')[1])}f}" == millions
    net.load_state_dict(fill(state), strict=True)
    net.to(memory_format=torch.channels_last)  # as it is used; at 512 pixels this takes two thirds of the time
    with torch.no_grad():
        found = outputs(net(probe(shape, 0).contiguous(memory_format=torch.channels_last)))
    references = np.load(FIXTURES / f"{name}.seed0.npz")
    assert len(references.files) == len(found)
    for i, output in enumerate(found):
        reference = torch.from_numpy(references[f"out{i}"])
        assert output.shape == reference.shape
        assert relative(output, reference) < 1e-4
