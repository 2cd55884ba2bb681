"""Tests the code path of Ascend's apex with a stand-in that follows the documentation of apex O2; no NPU is needed.

It checks the order of calls and that float32 weights stay exact. It does not check Ascend's own code.
"""
import contextlib
import copy
import types

import pytest
import torch
from torch.nn import functional as F

import utils.device
from tests.helpers.precision import adam, equal, pair, small_net, train
from utils import amp, amp_state
from utils.errors import UserError


def fake_apex():
    """Returns apex.amp as documented: halves weights in place, creates masters at first scale_loss, copies at step."""
    calls = []

    def initialize(models, optimizer, opt_level, loss_scale, combine_grad, verbosity):
        calls.append((opt_level, loss_scale, combine_grad))
        optimizer.scale, optimizer.pairs = float(loss_scale), None
        for model in models:
            amp_state._halve_the_rest(model, torch.float16)
            model.forward = amp_state._cast_io(model.forward, torch.float16)
        inner_step = optimizer.step

        def step():
            inner_step()
            with torch.no_grad():
                for half, master in optimizer.pairs:
                    if half is not master:
                        half.copy_(master)

        def zero_grad():
            for half, master in optimizer.pairs or ():
                half.grad = master.grad = None
        optimizer.step, optimizer.zero_grad = step, zero_grad
        return models, optimizer

    @contextlib.contextmanager
    def scale_loss(loss, optimizer):
        if optimizer.pairs is None:
            optimizer.pairs = []
            for group in optimizer.param_groups:
                for i, p in enumerate(group["params"]):
                    master = p if p.dtype == torch.float32 else p.detach().clone().float().requires_grad_()
                    optimizer.pairs.append((p, master))
                    group["params"][i] = master
        yield loss.float() * optimizer.scale
        for half, master in optimizer.pairs:
            master.grad = half.grad.float() / optimizer.scale

    def master_params(optimizer):
        return (p for group in optimizer.param_groups for p in group["params"])
    fake = types.SimpleNamespace(
        initialize=initialize, scale_loss=scale_loss, master_params=master_params,
        state_dict=lambda: {"loss_scaler0": {"loss_scale": 128.0, "unskipped": 0}}, load_state_dict=calls.append)
    return types.SimpleNamespace(amp=fake, calls=calls)


def rmsprop(net):
    return torch.optim.RMSprop(net.parameters(), lr=1e-3)


@pytest.fixture
def apex(monkeypatch):
    fake = fake_apex()
    monkeypatch.setattr(utils.device, "ascend_apex", lambda device: fake)
    return fake


def test_apex_is_called_as_the_modelzoo_does(apex):
    net = small_net()
    before = copy.deepcopy(net.state_dict())
    _, optimizer = amp.initialize(net, adam(net), "O2", loss_scale=128.0, combine_grad=True)
    assert apex.calls == [("O2", 128.0, True)]
    assert equal(before, net.state_dict())  # the float32 weights, not their halved copies
    train(net, optimizer, 1)
    assert optimizer.overflows() == (128.0, None, None)
    assert not optimizer.needs_ddp
    other = small_net()
    assert amp.initialize(other, adam(other), "O2", average=print)[1].needs_ddp  # DDP averages, because apex does not


def test_phases_that_ddp_cannot_follow_average_what_apex_leaves(apex):
    net, seen = small_net(), []
    _, optimizer = amp.initialize(net, adam(net), "O2", average=seen.append, buckets=False)
    assert not optimizer.needs_ddp
    train(net, optimizer, 1)
    gradients, = seen  # once per step, after unscaling, in float32
    assert [g.shape for g in gradients] == [p.shape for p in net.parameters()]
    assert all(g.dtype == torch.float32 for g in gradients)
    with pytest.raises(UserError, match="--loss_scale dynamic does not go with Ascend's apex"):
        amp.initialize(net, adam(net), "O2", loss_scale="dynamic", average=print, buckets=False)


def test_apex_trains_as_the_projects_own_o2(apex, monkeypatch):
    net = small_net()
    _, optimizer = amp.initialize(net, adam(net), "O2")
    losses = train(net, optimizer, 10)
    monkeypatch.setattr(utils.device, "ascend_apex", lambda device: None)
    own = small_net()
    _, own_optimizer = amp.initialize(own, adam(own), "O2")
    assert type(own_optimizer) is not type(optimizer)
    assert losses == pytest.approx(train(own, own_optimizer, 10), abs=2e-3)


@pytest.mark.parametrize("make", [adam, rmsprop])
def test_resume_with_apex_is_exact(apex, make):
    net = small_net()
    _, optimizer = amp.initialize(net, make(net), "O2")
    train(net, optimizer, 3)
    weights, state = copy.deepcopy(net.state_dict()), copy.deepcopy(optimizer.state_dict())
    expected = train(net, optimizer, 3, first=3)
    again = small_net()
    again.load_state_dict(weights)
    _, resumed = amp.initialize(again, make(again), "O2")
    resumed.load_state_dict(state)
    assert resumed.state_dict()["params"].keys() == state["params"].keys()  # complete although no step followed
    assert train(again, resumed, 3, first=3) == expected
    assert equal(net.state_dict(), again.state_dict())


def test_rmsprop_is_apexs_where_apex_does_the_mixed_precision(apex, monkeypatch):
    fused = type("NpuFusedRMSprop", (torch.optim.RMSprop,), {})
    monkeypatch.setattr(apex, "optimizers", types.SimpleNamespace(NpuFusedRMSprop=fused), raising=False)
    for level, expected in (("O0", torch.optim.RMSprop), ("O2", fused)):
        optimizer = utils.device.rmsprop(small_net().parameters(), torch.device("cpu"), level, lr=1e-3, alpha=0.9)
        assert type(optimizer) is expected and optimizer.param_groups[0]["alpha"] == 0.9


def test_a_run_goes_on_without_apex(apex, monkeypatch):
    net = small_net()
    _, optimizer = amp.initialize(net, adam(net), "O2")
    train(net, optimizer, 3)
    monkeypatch.setattr(utils.device, "ascend_apex", lambda device: None)
    other = small_net()
    other.load_state_dict(net.state_dict())
    _, own = amp.initialize(other, adam(other), "O2")
    own.load_state_dict(optimizer.state_dict())
    assert all(equal(own.state_dict()["params"][n], s) for n, s in optimizer.state_dict()["params"].items())
    lr, hr = pair(9)
    assert F.l1_loss(net(lr), hr).item() == F.l1_loss(other(lr), hr).item()


def test_clipping_with_apex(apex):
    net = small_net()
    _, optimizer = amp.initialize(net, torch.optim.SGD(net.parameters(), lr=1.0), "O2", max_grad_norm=0.01)
    before = {n: p.detach().float() for n, p in net.named_parameters()}
    train(net, optimizer, 1)
    state = net.state_dict()
    moved = torch.cat([(state[n] - p).flatten() for n, p in before.items()]).norm().item()
    assert moved == pytest.approx(0.01, rel=0.05)
