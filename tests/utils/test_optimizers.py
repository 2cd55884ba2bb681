"""Compares the optimizers that skip on the device with torch's, and checks that a skipped step changes nothing."""
import copy

import pytest
import torch

from tests.helpers.precision import equal
from utils.optimizers import Adam, RMSprop

OPTIONS = {Adam: {"lr": 1e-2, "betas": (0.5, 0.999)}, RMSprop: {"lr": 1e-2, "alpha": 0.9}}
KINDS = pytest.mark.parametrize("kind", [Adam, RMSprop])


def run(make, found_inf=(), steps=60):
    """Returns (parameter, its state) after `steps` steps. found_inf: the steps whose gradients are not finite."""
    generator = torch.Generator().manual_seed(0)
    param = torch.nn.Parameter(torch.randn(500, generator=generator))
    optimizer = make([param])
    for step in range(steps):
        optimizer.found_inf = torch.tensor(float(step in found_inf)) if found_inf is not None else None
        param.grad = torch.randn(500, generator=generator)
        before = copy.deepcopy((param.detach(), dict(optimizer.state[param])))
        if step in (found_inf or ()):
            param.grad[:3] = torch.tensor([float("inf"), -float("inf"), float("nan")])
        optimizer.step()
        if step in (found_inf or ()):
            assert torch.equal(param, before[0])
            assert not before[1] or equal(before[1], optimizer.state[param])
    return param.detach(), optimizer.state[param]


@pytest.mark.parametrize("decay", [0.0, 0.01])
@pytest.mark.parametrize("found_inf", [None, ()])
def test_rmsprop_equals_torchs_bit_for_bit(decay, found_inf):
    theirs = run(lambda p: torch.optim.RMSprop(p, weight_decay=decay, **OPTIONS[RMSprop]))
    ours = run(lambda p: RMSprop(p, weight_decay=decay, **OPTIONS[RMSprop]), found_inf)
    assert torch.equal(theirs[0], ours[0]) and equal(theirs[1], ours[1])


@pytest.mark.parametrize("decay", [0.0, 0.01])
@pytest.mark.parametrize("betas", [(0.0, 0.99), (0.9, 0.999)])
def test_adam_follows_torchs(decay, betas):
    theirs = run(lambda p: torch.optim.Adam(p, 1e-2, betas, weight_decay=decay, fused=True), None)
    ours = run(lambda p: Adam(p, 1e-2, betas, weight_decay=decay), None)
    torch.testing.assert_close(ours[0], theirs[0], atol=2e-6, rtol=0)
    assert ours[1].keys() == theirs[1].keys() and ours[1]["step"] == theirs[1]["step"] == 60
    assert torch.equal(ours[0], run(lambda p: Adam(p, 1e-2, betas, weight_decay=decay))[0])  # found_inf 0: no change


@KINDS
@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_a_skipped_step_changes_nothing(kind, decay):
    param, state = run(lambda p: kind(p, weight_decay=decay, **OPTIONS[kind]), found_inf=(0, 1, 7, 30))
    assert param.isfinite().all() and state["step"] == 56


@KINDS
def test_a_step_count_may_be_loaded_as_a_number(kind):
    param, state = run(lambda p: kind(p, **OPTIONS[kind]), steps=4)
    again = torch.nn.Parameter(param.clone())
    optimizer = kind([again], **OPTIONS[kind])
    saved = optimizer.state_dict() | {"state": {0: state | {"step": 4}}}
    optimizer.load_state_dict(saved)
    again.grad = torch.ones(500)
    optimizer.step()
    assert optimizer.state[again]["step"] == 5
