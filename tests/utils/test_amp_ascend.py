# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Tests the code path of Ascend's apex with a stand-in (tests/npusim/site_apex) on the CPU; no NPU is needed.

It checks what the project does with apex, against its own O2. It does not check Ascend's own code.
"""
import copy
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import utils.device
from models.base_model import PrecisionNeeds
from models.spectral_norm import add_spectral_norm
from tests.helpers.paths import SIMULATED_APEX
from tests.helpers.precision import equal, pair, small_net, train, update
from utils import amp, distributed
from utils.errors import UserError

CPU = torch.device("cpu")


def optimizer_of(net, kind="adam", lr=1e-3, level="O2"):
    """Returns the optimizer that utils.device makes: apex's if the fixture `apex` is on."""
    options = {"betas": (0.9, 0.99)} if kind == "adam" else {}
    return getattr(utils.device, kind)(net.parameters(), CPU, level, lr=lr, **options)


def prepared(net, *words, **options):
    """Returns the wrapped optimizer of `net` after amp.initialize(net, ..., *words, **options)."""
    level = words[0] if words else "O2"
    return amp.initialize(net, optimizer_of(net, level=level), level, *words[1:], **options)[1]


@pytest.fixture
def apex(monkeypatch):
    """Yields the stand-in for Ascend's apex, which then also runs on the CPU."""
    monkeypatch.syspath_prepend(str(SIMULATED_APEX))
    import apex
    monkeypatch.setattr(utils.device, "ascend_apex", lambda device: apex)
    yield apex
    for name in [n for n in sys.modules if n.split(".")[0] == "apex"]:
        del sys.modules[name]


@pytest.fixture
def own(monkeypatch):
    """Returns a function after which the project's own mixed precision is used again."""
    return lambda: monkeypatch.setattr(utils.device, "ascend_apex", lambda device: None)


def test_apex_is_called_as_the_modelzoo_does(apex, monkeypatch):
    calls, initialize = [], apex.amp.initialize
    monkeypatch.setattr(apex.amp, "initialize", lambda *args, **options: calls.append(options) or initialize(
        *args, **options))
    net = small_net()
    before = copy.deepcopy(net.state_dict())
    optimizer = prepared(net, "O2", loss_scale=128.0, combine_grad=True)
    assert calls == [{"opt_level": "O2", "loss_scale": 128.0, "combine_grad": True, "verbosity": 0}]
    assert type(optimizer.inner) is apex.optimizers.NpuFusedAdam
    assert equal(before, net.state_dict())  # the float32 weights, not their halved copies
    train(net, optimizer, 1)
    assert optimizer.overflows() == (128.0, 0, 0)


@pytest.mark.parametrize("level", ["O1", "O2"])
def test_apex_trains_as_the_projects_own(apex, own, level):
    net = small_net()
    optimizer = prepared(net, level)
    losses = train(net, optimizer, 10)
    own()
    other = small_net()
    own_optimizer = amp.initialize(other, optimizer_of(other), level)[1]
    assert type(own_optimizer) is not type(optimizer)
    assert losses == pytest.approx(train(other, own_optimizer, 10), abs=2e-3)


# ---- several ranks ----
@pytest.mark.parametrize("combine_grad", [True, False])
@pytest.mark.parametrize("level", ["O1", "O2"])
def test_apex_averages_once_per_step_without_ddp(apex, level, combine_grad):
    net, seen, sums = small_net(), [], []

    def average(tensors):  # stands in for two ranks: the other one's gradients are the same
        seen.append([(t.dtype, t.dim()) for t in tensors])
        sums.append(sum(float(t.abs().sum()) for t in tensors))
    optimizer = prepared(net, level, combine_grad=combine_grad, average=average)
    assert not optimizer.needs_ddp
    for step in range(2):
        for part in range(2):
            lr, hr = pair(2 * step + part)
            with amp.scale_loss(F.l1_loss(net(lr), hr) / 2, optimizer) as scaled:
                scaled.backward()
        total = sum(float(p.grad.abs().sum()) for p in apex.amp.master_params(optimizer.inner))
        optimizer.step()
        assert sums[-1] == pytest.approx(total)  # the gradients of both micro-batches, unscaled
        optimizer.zero_grad()
    flat = {"O1": 1, "O2": 2}[level]
    assert len(seen) == 2 and all(dtype == torch.float32 for calls in seen for dtype, _ in calls)
    assert [len(calls) for calls in seen] == [flat if combine_grad else len(list(net.parameters()))] * 2


def test_a_dynamic_scale_on_several_ranks_is_refused(apex, monkeypatch):
    prepared(net := small_net(), "O2", loss_scale="dynamic", average=print)  # one rank under torchrun
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    with pytest.raises(UserError, match="--loss_scale dynamic does not go with Ascend's apex on several devices"):
        prepared(net, "O2", loss_scale="dynamic", average=print)


# ---- gradients that are views ----
class Slices(nn.Module):
    """Two layers whose weights' gradients are slices of one tensor's gradient."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Parameter(torch.randn(4, 8) / 3), nn.Parameter(torch.randn(4, 8) / 3)
        self.c = nn.Parameter(torch.randn(8, 2) / 3)

    def forward(self, x):
        return F.linear(x, torch.cat([self.a, self.b])) @ self.c


def fit(net, optimizer, steps=5):
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(steps):
        x = torch.randn(16, 8, generator=generator)
        losses.append(update((net(x) - x[:, :2]).square().mean(), optimizer))
    return losses


@pytest.mark.parametrize("level", ["O1", "O2"])
def test_gradients_that_are_slices_of_one_storage(apex, own, level):
    probe = Slices()
    probe(torch.ones(1, 8)).sum().backward()
    assert probe.a.grad.untyped_storage().nbytes() > probe.a.grad.nbytes  # else this test shows nothing
    net = Slices()
    losses = fit(net, prepared(net, level))
    own()
    other = Slices()
    assert losses == pytest.approx(fit(other, prepared(other, level)), rel=2e-2)


# ---- float32 parameters and buffers ----
class Asking(PrecisionNeeds, nn.Module):
    """A layer whose parameters and buffers stay float32, one frozen."""

    float32_parameters = True

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(8, 1, 1))
        self.frozen = nn.Parameter(torch.rand(8, 1, 1), requires_grad=False)
        self.register_buffer("shift", torch.rand(8, 1, 1))

    def forward(self, x):
        return x.float() * self.weight * self.frozen + self.shift


def test_what_stays_float32_is_put_back_exactly(apex, own):
    def build():
        torch.manual_seed(0)
        normalised = add_spectral_norm(nn.Sequential(nn.Conv2d(8, 8, 1)))
        return nn.Sequential(normalised, Asking(), nn.BatchNorm2d(8, affine=False))
    net, other = build(), build()
    float32 = {n: t.clone() for n, t in (*net.named_parameters(), *net.named_buffers())}
    optimizer = prepared_trainable(net)
    own()
    prepared_trainable(other)
    kinds = [{n: t.dtype for n, t in (*m.named_parameters(), *m.named_buffers())} for m in (net, other)]
    assert kinds[0] == kinds[1] and set(kinds[0].values()) > {torch.float16, torch.float32}
    for name, value in (*net.named_parameters(), *net.named_buffers()):
        assert value.dtype != torch.float32 or torch.equal(value, float32[name]), name
    with amp.scale_loss(net(torch.rand(4, 8, 2, 2)).square().sum(), optimizer) as scaled:
        scaled.backward()
    assert optimizer.masters["0.1.weight"] is net[1].weight  # its own master


def prepared_trainable(net):
    params = [p for p in net.parameters() if p.requires_grad]
    return amp.initialize(net, utils.device.adam(params, CPU, "O2", 1e-3, (0.9, 0.99)), "O2")[1]


# ---- overflows ----
def test_a_static_scale_that_overflows_is_skipped_and_counted(apex, own):
    counts = []
    for _ in range(2):
        net = small_net()
        optimizer = prepared(net, "O2", loss_scale=128.0)
        train(net, optimizer, 2)
        before = copy.deepcopy({n: p.detach() for n, p in net.named_parameters()})
        states = copy.deepcopy(optimizer.state_dict())
        lr, hr = pair(2)
        for _ in range(3):
            with amp.scale_loss(F.l1_loss(net(lr), hr) * 1e9, optimizer) as scaled:
                scaled.backward()
            optimizer.step()
            optimizer.zero_grad()
        counts.append([optimizer.overflows()])
        assert equal(before, dict(net.named_parameters()))
        after = optimizer.state_dict()
        assert all(equal(after["params"][n], states["params"][n]) for n in states["params"])
        assert after["shared"] == states["shared"]
        train(net, optimizer, 1, first=2)
        counts[-1].append(optimizer.overflows())
        assert not equal(before, dict(net.named_parameters()))
        own()
    assert counts[0] == counts[1] == [(128.0, 3, 3), (128.0, 3, 0)]


def test_a_dynamic_scale_is_apexs(apex):
    net = small_net()
    optimizer = prepared(net, "O2", loss_scale="dynamic")
    before = copy.deepcopy({n: p.detach() for n, p in net.named_parameters()})
    lr, hr = pair(0)
    with amp.scale_loss(F.l1_loss(net(lr), hr) * 1e9, optimizer) as scaled:
        scaled.backward()
    optimizer.step()
    optimizer.zero_grad()
    assert equal(before, dict(net.named_parameters()))
    assert optimizer.overflows() == (2.0 ** 15, None, None)


# ---- states ----
@pytest.mark.parametrize("kind", ["adam", "rmsprop"])
def test_resume_with_apex_is_exact(apex, kind):
    net = small_net()
    optimizer = amp.initialize(net, optimizer_of(net, kind), "O2")[1]
    train(net, optimizer, 3)
    weights, state = copy.deepcopy(net.state_dict()), copy.deepcopy(optimizer.state_dict())
    expected = train(net, optimizer, 3, first=3)
    again = small_net()
    again.load_state_dict(weights)
    resumed = amp.initialize(again, optimizer_of(again, kind), "O2")[1]
    resumed.load_state_dict(state)
    assert resumed.state_dict()["params"].keys() == state["params"].keys()  # complete although no step followed
    assert train(again, resumed, 3, first=3) == expected
    assert equal(net.state_dict(), again.state_dict())


def test_the_optimizers_are_apexs_where_apex_does_the_mixed_precision(apex):
    for kind, name in (("adam", "NpuFusedAdam"), ("rmsprop", "NpuFusedRMSprop")):
        assert type(optimizer_of(small_net(), kind)) is getattr(apex.optimizers, name)
        assert type(optimizer_of(small_net(), kind, level="O0")) is not getattr(apex.optimizers, name)


def test_a_run_goes_on_without_apex_and_back(apex, monkeypatch):
    net = small_net()
    optimizer = prepared(net, "O2")
    train(net, optimizer, 2)
    with amp.scale_loss(net(pair(0)[0]).sum() * 1e9, optimizer) as scaled:
        scaled.backward()
    optimizer.step()
    optimizer.zero_grad()
    with monkeypatch.context() as patch:
        patch.setattr(utils.device, "ascend_apex", lambda device: None)
        other = small_net()
        other.load_state_dict(net.state_dict())
        own = prepared(other, "O2")
    own.load_state_dict(optimizer.state_dict())
    assert all(equal(own.state_dict()["params"][n], s) for n, s in optimizer.state_dict()["params"].items())
    assert own.overflows() == optimizer.overflows() == (128.0, 1, 1)
    lr, hr = pair(9)
    assert F.l1_loss(net(lr), hr).item() == F.l1_loss(other(lr), hr).item()
    back = prepared(small_net(), "O2")
    back.load_state_dict(own.state_dict())
    assert back.overflows() == (128.0, 1, 1)


def test_clipping_with_apex(apex):
    net = small_net()
    optimizer = amp.initialize(net, torch.optim.SGD(net.parameters(), lr=1.0), "O2", max_grad_norm=0.01)[1]
    before = {n: p.detach().float() for n, p in net.named_parameters()}
    train(net, optimizer, 1)
    state = net.state_dict()
    moved = torch.cat([(state[n] - p).flatten() for n, p in before.items()]).norm().item()
    assert moved == pytest.approx(0.01, rel=0.05)
