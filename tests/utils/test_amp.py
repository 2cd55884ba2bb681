# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Mixed precision: masters, loss scale, overflow, and states that do not depend on precision or combining."""
import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import utils.device
from models.base_model import RMSpropSpec
from tests.helpers.precision import LR, adam, equal, pair, small_net, train
from utils import amp
from utils.errors import UserError

STEPS = 60


@pytest.mark.parametrize("combine_grad", [True, False])
def test_o0_is_plain_adam(combine_grad):
    plain = small_net()
    optimizer = adam(plain)
    for step in range(5):
        lr, hr = pair(step)
        F.l1_loss(plain(lr), hr).backward()
        optimizer.step()
        optimizer.zero_grad()
    net = small_net()
    net, wrapped = amp.initialize(net, adam(net), "O0", combine_grad=combine_grad)
    train(net, wrapped, 5)
    for name, tensor in plain.state_dict().items():
        # Adam's vector and scalar code round differently, depending on a tensor's memory address. 5 steps change a
        # weight by up to 5e-3.
        torch.testing.assert_close(net.state_dict()[name], tensor, rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("combine_grad", [True, False])
def test_o0_is_plain_rmsprop_bit_for_bit(combine_grad):
    plain, net = small_net(), small_net()
    optimizer = torch.optim.RMSprop(plain.parameters(), lr=LR, alpha=0.99, eps=1e-8)
    spec = RMSpropSpec(("G",), LR)
    own = utils.device.make_optimizer(spec, net.parameters(), torch.device("cpu"), "O0")
    _, wrapped = amp.initialize(net, own, "O0", combine_grad=combine_grad)
    for step in range(5):
        lr, hr = pair(step)
        F.l1_loss(plain(lr), hr).backward()
        optimizer.step()
        optimizer.zero_grad()
    train(net, wrapped, 5)
    assert equal(plain.state_dict(), net.state_dict())
    state = wrapped.state_dict()
    assert state["shared"]["step"] == 5
    assert all(torch.equal(state["params"][f"0.{n}"]["square_avg"], optimizer.state[p]["square_avg"])
               for n, p in plain.named_parameters())


@pytest.mark.parametrize("first, second", [("O0", "O2"), ("O2", "O2")])
def test_rmsprops_state_moves_between_precisions_and_layouts(first, second):
    spec, cpu = RMSpropSpec(("G",), LR), torch.device("cpu")
    net, other = small_net(), small_net()
    _, optimizer = amp.initialize(net, utils.device.make_optimizer(spec, net.parameters(), cpu, first), first)
    train(net, optimizer, 3)
    other.load_state_dict(net.state_dict())
    inner = utils.device.make_optimizer(spec, other.parameters(), cpu, second)
    _, loaded = amp.initialize(other, inner, second, combine_grad=first == second)
    loaded.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    taken, given = loaded.state_dict(), optimizer.state_dict()
    assert taken["shared"]["step"] == 3
    assert all(equal(taken["params"][n], given["params"][n]) for n in given["params"])
    if first == second:
        assert train(other, loaded, 2, first=3) == train(net, optimizer, 2, first=3)


@pytest.fixture(scope="module")
def float32_losses():
    net = small_net()
    _, optimizer = amp.initialize(net, adam(net), "O0")
    return train(net, optimizer, STEPS)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("level", ["O1", "O2"])
def test_half_follows_float32(level, half, float32_losses):
    net = small_net()
    _, optimizer = amp.initialize(net, adam(net), level, half=half)
    losses = train(net, optimizer, STEPS)
    assert losses != float32_losses  # proves that it computed in half precision
    difference = max(abs(a - b) for a, b in zip(losses, float32_losses, strict=True))
    assert difference < (2e-3 if half == torch.float16 else 1.5e-2)
    assert optimizer.overflows() == (128.0, 0, 0)


@pytest.mark.parametrize("combine_grad", [True, False])
def test_o2_keeps_float32_masters_and_batch_norm(combine_grad):
    net = small_net()
    before = copy.deepcopy(net.state_dict())
    net, optimizer = amp.initialize(net, adam(net), "O2", combine_grad=combine_grad)
    for module in net.modules():
        for p in module.parameters(recurse=False):
            norm = isinstance(module, nn.BatchNorm2d)
            assert p.dtype == (torch.float32 if norm else torch.float16)
            assert p.grad.dtype == p.dtype
    # The masters are the original weights, not their rounded copies; state_dict() returns the masters.
    assert equal(before, net.state_dict())
    train(net, optimizer, 2)
    state = net.state_dict()
    assert all(t.dtype == torch.float32 for t in state.values() if t.is_floating_point())
    for name, p in net.named_parameters():
        assert torch.equal(p, state[name].to(p.dtype))
        assert not torch.equal(state[name], before[name]) or state[name].abs().max() == 0
    assert any(not torch.equal(t, t.half().float()) for t in state.values() if t.is_floating_point())
    assert len(optimizer.blocks) == (1 if combine_grad else len(list(net.parameters())))


def test_network_keeps_its_memory_layout():
    net = small_net()
    amp.initialize(net, adam(net), "O2")
    convs = [m for m in net.modules() if isinstance(m, nn.Conv2d) and m.in_channels > 3]
    assert all(m.weight.is_contiguous(memory_format=torch.channels_last) for m in convs)


def test_output_and_loss_are_float32():
    net = small_net()
    amp.initialize(net, adam(net), "O2")
    assert net(pair(0)[0]).dtype == torch.float32


def rmsprop(net):
    return utils.device.rmsprop(net.parameters(), torch.device("cpu"), "O2", LR)


@pytest.mark.parametrize("make", [adam, rmsprop])
@pytest.mark.parametrize("combine_grad", [True, False])
def test_overflow_skips_the_step_and_is_counted(combine_grad, make):
    net = small_net()
    net, optimizer = amp.initialize(net, make(net), "O2", loss_scale=128.0, combine_grad=combine_grad)
    train(net, optimizer, 2)
    before, states = copy.deepcopy(net.state_dict()), copy.deepcopy(optimizer.state_dict())
    half_before = {n: p.detach().clone() for n, p in net.named_parameters()}
    for _ in range(3):
        next(net.parameters()).grad[0, 0, 0, 0] = float("inf")
        optimizer.step()
        optimizer.zero_grad()
    assert optimizer.overflows() == (128.0, 3, 3)
    assert equal(before, net.state_dict())
    assert equal(half_before, dict(net.named_parameters()))
    after = optimizer.state_dict()
    assert all(equal(after["params"][n], states["params"][n]) for n in states["params"])
    if make is adam:
        assert after["shared"]["step"] == states["shared"]["step"]
    train(net, optimizer, 1, first=2)
    assert optimizer.overflows() == (128.0, 3, 0)
    assert not equal(before, net.state_dict())


def test_fp16_overflow_in_backward_is_seen():
    net = small_net()
    net, optimizer = amp.initialize(net, adam(net), "O2", loss_scale=2.0 ** 40)
    before = copy.deepcopy({n: p.detach() for n, p in net.named_parameters()})
    train(net, optimizer, 2)
    assert optimizer.overflows().skipped == 2
    assert equal(before, dict(net.named_parameters()))


def test_dynamic_scale_falls_and_grows(monkeypatch):
    monkeypatch.setattr(amp, "GROWTH_INTERVAL", 2)
    net = small_net()
    net, optimizer = amp.initialize(net, adam(net), "O2", loss_scale="dynamic")
    optimizer.blocks[0].low_grad.fill_(float("nan"))
    optimizer.step()
    optimizer.zero_grad()
    assert optimizer.overflows() == (2.0 ** 15, 1, 1)
    train(net, optimizer, 2)
    assert optimizer.overflows() == (2.0 ** 16, 1, 0)


def test_a_saturating_npu_is_asked_for_its_float_status(monkeypatch):
    """A 910A produces no inf: the flag that it sets during backward makes the optimizer skip the step."""
    flag = {"raised": False}
    monkeypatch.setattr(utils.device, "saturates", lambda device: True)
    monkeypatch.setattr(utils.device, "float_status_overflowed", lambda: flag["raised"])
    monkeypatch.setattr(utils.device, "clear_float_status", lambda: flag.update(raised=False))
    net = small_net()
    flag["raised"] = True  # set before the training: must be ignored
    net, optimizer = amp.initialize(net, adam(net), "O2")
    train(net, optimizer, 1)
    before = copy.deepcopy(net.state_dict())
    learned = [n for n, _ in net.named_parameters()]
    flag["raised"] = True
    train(net, optimizer, 1, first=1)
    assert optimizer.overflows() == (128.0, 1, 1) and not flag["raised"]
    assert all(torch.equal(net.state_dict()[n], before[n]) for n in learned)
    train(net, optimizer, 1, first=2)
    assert optimizer.overflows() == (128.0, 1, 0)
    assert not all(torch.equal(net.state_dict()[n], before[n]) for n in learned)


def test_scale_does_not_change_float32_gradients():
    weights = []
    for scale in (1.0, 128.0):
        net = small_net()
        net, optimizer = amp.initialize(net, adam(net), "O1", loss_scale=scale, half=torch.bfloat16)
        train(net, optimizer, 3)
        weights.append(net.state_dict())
    assert equal(*weights)  # scaling and unscaling by a power of two is exact


def test_clipping_bounds_the_update():
    net = small_net()
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    net, wrapped = amp.initialize(net, optimizer, "O0", max_grad_norm=0.01)
    before = {n: p.detach().clone() for n, p in net.named_parameters()}
    train(net, wrapped, 1)
    moved = torch.cat([(p - before[n]).flatten() for n, p in net.named_parameters()]).norm().item()
    assert moved == pytest.approx(0.01, rel=1e-2)


@pytest.mark.parametrize("first, second", [("O0", "O0"), ("O2", "O2"), ("O0", "O2"), ("O2", "O1")])
@pytest.mark.parametrize("combine_first, combine_second", [(True, False), (False, True)])
def test_state_moves_between_precisions_and_layouts(first, second, combine_first, combine_second):
    net = small_net()
    net, optimizer = amp.initialize(net, adam(net), first, combine_grad=combine_first)
    train(net, optimizer, 3)
    state, weights = copy.deepcopy(optimizer.state_dict()), copy.deepcopy(net.state_dict())
    other = small_net().to(memory_format=torch.contiguous_format)
    other.load_state_dict(weights)
    other, loaded = amp.initialize(other, adam(other), second, combine_grad=combine_second)
    loaded.load_state_dict(state)
    assert equal(other.state_dict(), weights)
    taken = loaded.state_dict()
    assert taken["shared"]["step"] == 3
    assert all(equal(taken["params"][n], state["params"][n]) for n in state["params"])


def test_a_dynamic_scale_goes_on_and_a_static_one_is_what_the_options_say():
    state = amp.initialize(net := small_net(), adam(net), "O2", loss_scale="dynamic")[1].state_dict()
    state["scaler"] |= {"scale": torch.tensor(2.0), "skipped": torch.tensor(3.0)}
    for asked, expected in (("dynamic", 2.0), (64.0, 64.0)):
        _, optimizer = amp.initialize(net := small_net(), adam(net), "O2", loss_scale=asked)
        optimizer.load_state_dict(state)
        assert optimizer.overflows() == (expected, 3, 0)


def test_state_of_another_network_is_refused():
    net, other = small_net(), small_net(norm_type="none")
    _, optimizer = amp.initialize(net, adam(net), "O0")
    train(net, optimizer, 1)
    _, another = amp.initialize(other, adam(other), "O0")
    with pytest.raises(UserError, match="another network"):
        another.load_state_dict(optimizer.state_dict())


def test_gradients_add_up_until_zeroed():
    net = small_net().eval()
    net, optimizer = amp.initialize(net, adam(net), "O0")
    lr, hr = pair(0)
    F.l1_loss(net(lr), hr).backward()
    once = optimizer.blocks[0].master.grad.clone()
    F.l1_loss(net(lr), hr).backward()
    torch.testing.assert_close(optimizer.blocks[0].master.grad, 2 * once)
    optimizer.zero_grad()
    assert optimizer.blocks[0].master.grad.abs().max() == 0


@pytest.mark.parametrize("level, dtypes", [("O0", [torch.float32]), ("O2", [torch.bfloat16, torch.float32])])
def test_ranks_average_once_a_step_one_tensor_a_type(level, dtypes):
    """Averages once per step for any number of micro-batches; `double` stands in for a sum over two ranks."""
    calls, lengths = [], []

    def double(tensors):
        calls.append([t.dtype for t in tensors])
        lengths.append(sum(float(t.float().square().sum()) for t in tensors) ** 0.5)
        torch._foreach_mul_(tensors, 2)
    net = small_net()
    _, optimizer = amp.initialize(net, adam(net), level, half=torch.bfloat16, average=double)
    for step in range(3):
        lr, hr = pair(step)
        for _ in range(2):
            with amp.scale_loss(F.l1_loss(net(lr), hr), optimizer) as scaled:
                scaled.backward()
        optimizer.step()
        after = sum(float(grad.square().sum()) for grad in optimizer._grads) ** 0.5
        assert after == pytest.approx(2 * lengths[-1] / (128 if level == "O2" else 1), rel=1e-2)
        optimizer.zero_grad()
    assert calls == [dtypes] * 3
    assert not optimizer.needs_ddp
    other = small_net()
    assert amp.initialize(other, adam(other), level, combine_grad=False, average=double)[1].needs_ddp
