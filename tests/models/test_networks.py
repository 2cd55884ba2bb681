# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Creating networks by name, initial weights, and which checkpoints load."""

import pickle

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import models
from models import create_network, find_recipe
from models.init import init_weights
from models.shapes import shapes_only
from models.weights import WeightsError, count_parameters, load_weights, match_weights, read_weights
from utils.errors import UserError


def small(**overrides):
    return create_network("sparnet_compact", res_depth=0, **overrides)


def same(net, state):
    own = net.state_dict()
    return own.keys() == state.keys() and all(torch.equal(own[key], state[key]) for key in own)


@pytest.fixture
def state():
    torch.manual_seed(1)
    net = init_weights(small())
    net.train()(torch.randn(2, 3, 64, 64))  # changes the running statistics from their initial values
    return net.state_dict()


def test_overrides_reach_the_network():
    assert len(create_network("sparnet_compact", res_depth=3).res_layers) == 3
    assert len(create_network("sparnet_compact").res_layers) == 2


def test_unknown_names_offer_the_nearest():
    with pytest.raises(UserError, match="sparnet_compct.*Did you mean sparnet_compact"):
        create_network("sparnet_compct")
    with pytest.raises(UserError, match="Did you mean sparnet"):
        find_recipe("sparne")


def test_recipes_are_imported_on_demand(monkeypatch):
    monkeypatch.setitem(models.RECIPES, "container", "collections:OrderedDict")
    monkeypatch.setitem(models.RECIPES, "absent", "models.no_such_module:Model")
    assert find_recipe("container").__name__ == "OrderedDict"  # the absent recipe is not imported
    with pytest.raises(ModuleNotFoundError):
        find_recipe("absent")


def test_init_weights():
    torch.manual_seed(3)
    net = init_weights(small())
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 2000:
            assert abs(module.weight.mean()) < 0.003 and 0.018 < module.weight.std() < 0.022
    convs = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(not m.bias.any() for m in [*convs, *norms] if m.bias is not None)
    weights = torch.cat([m.weight for m in norms])
    assert abs(weights.mean() - 1) < 0.005 and 0.018 < weights.std() < 0.022


def test_kaiming_is_pytorchs_own_with_zero_biases():
    torch.manual_seed(3)
    plain = nn.Conv2d(4, 5, 3)
    torch.manual_seed(3)
    net = init_weights(nn.Conv2d(4, 5, 3), "kaiming", torch.Generator().manual_seed(9))
    bound = 1 / (4 * 9) ** 0.5
    assert net.weight.abs().max() <= bound and plain.weight.abs().max() <= bound
    assert abs(net.weight.std() - bound / 3 ** 0.5) < 0.1 * bound and not net.bias.any()
    norm = init_weights(nn.BatchNorm2d(7), "kaiming")
    assert (norm.weight == 1).all() and not norm.bias.any()
    with pytest.raises(ValueError, match="init_type must be one of normal, kaiming"):
        init_weights(net, "xavier")


def test_init_weights_is_deterministic():
    net, other = small(), small()
    torch.manual_seed(5)
    init_weights(net)
    torch.manual_seed(5)
    assert same(init_weights(other), net.state_dict())
    torch.manual_seed(6)
    assert not same(init_weights(other), net.state_dict())

    init_weights(net, generator=torch.Generator().manual_seed(7))
    torch.manual_seed(8)  # the global generator has no effect if one is passed
    assert same(init_weights(other, generator=torch.Generator().manual_seed(7)), net.state_dict())


def test_count_parameters():
    assert count_parameters(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))) == 3 * 4 * 9 + 4 + 8


def wrap_nothing(state):
    return state


def wrap_container(key):
    return lambda state: {key: state, "epoch": 3}


def wrap_prefix(prefix):
    return lambda state: {prefix + key: tensor for key, tensor in state.items()}


@pytest.mark.parametrize("wrap", [
    wrap_nothing,
    *map(wrap_container, ("state_dict", "params_ema", "params", "model")),
    wrap_prefix("module."),
    wrap_prefix("module._orig_mod."),
    lambda state: wrap_container("state_dict")(wrap_prefix("module.")(state)),
])
def test_checkpoints_of_every_kind_load(wrap, state, tmp_path):
    torch.save(wrap(state), tmp_path / "net.pth")
    net = small()
    assert not same(net, state)
    assert load_weights(net, tmp_path / "net.pth") is net
    assert same(net, state)


def test_the_average_comes_before_the_raw_weights(state, tmp_path):
    raw = {key: torch.zeros_like(tensor) for key, tensor in state.items()}
    torch.save({"params": raw, "params_ema": state}, tmp_path / "net.pth")
    assert same(load_weights(small(), tmp_path / "net.pth"), state)


def test_old_file_format_loads(state, tmp_path):
    torch.save(state, tmp_path / "net.pth", _use_new_zipfile_serialization=False)
    assert same(load_weights(small(), str(tmp_path / "net.pth")), state)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_checkpoints_become_float32(dtype, state, tmp_path):
    half = {key: t.to(dtype) if t.is_floating_point() else t for key, t in state.items()}
    torch.save(half, tmp_path / "net.pth")
    assert {t.dtype for t in read_weights(tmp_path / "net.pth").values()} == {torch.float32, torch.int64}
    net = load_weights(small(), tmp_path / "net.pth")
    assert same(net, {key: half[key].to(state[key].dtype) for key in state})


def test_weights_take_the_dtype_of_the_network(state):
    matched = match_weights(small().half(), state)
    assert matched["out_conv.conv2d.weight"].dtype == torch.float16


def test_checkpoint_without_batch_counters_loads(state, tmp_path):
    old = {key: tensor for key, tensor in state.items() if not key.endswith("num_batches_tracked")}
    assert len(old) < len(state)
    torch.save(old, tmp_path / "net.pth")
    net = load_weights(small(), tmp_path / "net.pth")
    assert all(not t.any() if key.endswith("tracked") else torch.equal(t, old[key])
               for key, t in net.state_dict().items())


def test_what_does_not_fit_is_listed(state, tmp_path):
    del state["out_conv.conv2d.bias"]
    state["encoder.9.weight"] = torch.zeros(2)
    state["encoder.0.conv2d.weight"] = torch.zeros(5, 3, 3, 3)
    torch.save(state, tmp_path / "odd.pth")
    net = small()
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        load_weights(net, tmp_path / "odd.pth")
    text = str(caught.value)
    assert "odd.pth" in text.splitlines()[0] and "SPARNet" in text
    assert "missing from the file (1):\n    out_conv.conv2d.bias\n" in text
    assert "unexpected in the file (1):\n    encoder.9.weight\n" in text
    assert ("different in shape (1):\n    encoder.0.conv2d.weight: "
            "5x3x3x3 in the file, 8x3x3x3 in the network\n") in text
    assert same(net, before)


def test_long_lists_are_cut_and_hints_tell_what_to_check(state):
    with pytest.raises(WeightsError, match="number of blocks") as caught:
        match_weights(create_network("sparnet_compact", res_depth=1), state)
    text = str(caught.value)
    assert text.count("res_layers.0.") == 8 and "more" in text
    assert "num_batches_tracked" not in text and "unexpected" not in text

    with pytest.raises(WeightsError, match="other widths"):
        match_weights(small(att_name="spar3d"), state)
    with pytest.raises(WeightsError, match="another kind of network"):
        match_weights(small(), {"fc.weight": torch.zeros(3)})


class NotATensor:
    pass


def write_truncated(path, state):
    torch.save(state, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def write_code(path, state):
    torch.save({"state_dict": state, "extra": NotATensor()}, path)


def write_legacy_truncated(path, state):
    torch.save(state, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("write", [
    write_truncated,
    write_legacy_truncated,
    write_code,
    lambda path, state: path.write_bytes(b""),
    lambda path, state: path.write_text("<!DOCTYPE html>Not Found"),
    lambda path, state: path.write_bytes(pickle.dumps(print, protocol=2)),
    lambda path, state: torch.save([1, 2], path),
    lambda path, state: torch.save({}, path),
    lambda path, state: torch.save({"epoch": 3}, path),
    lambda path, state: None,
])
def test_files_that_are_no_checkpoint_give_one_clear_line(write, state, tmp_path):
    path = tmp_path / "bad.pth"
    write(path, state)
    with pytest.raises(WeightsError, match="bad.pth") as caught:
        load_weights(small(), path)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 300 + len(str(path))


@pytest.mark.parametrize("name", ["sparnet_compact", "sparnethd_attn3d", "fsrnet"])
def test_parameters_are_counted_without_computing(name):
    """Operators on torch's device `meta` import torch._dynamo, which would delay the start of every program."""
    class Recorded(TorchDispatchMode):
        def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
            called.add(operator.name().partition(".")[0])
            return operator(*args, **(kwargs or {}))
    called = set()
    with Recorded(), shapes_only():
        create_network(name)
    assert "aten::empty" in called
    assert called <= {f"aten::{operator}" for operator in (
        "empty", "new_empty", "zeros", "ones", "zero_", "fill_", "lift_fresh", "_to_copy", "view", "detach")}
