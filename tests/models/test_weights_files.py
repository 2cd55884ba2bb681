# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Weights files: integrity, finite values, wrappers of other projects, and what a message says of a file's content."""
import argparse
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file

from models import create_network
from models.weights import WeightsError, load_weights, match_weights, read_weights
from tools.export_weights import serialize
from utils import pretrained


def small():
    return create_network("sparnet_compact", res_depth=0)


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(1)
    return {key: tensor.clone() for key, tensor in small().state_dict().items()}


def same(net, state):
    return all(torch.equal(tensor, state[key]) for key, tensor in net.state_dict().items())


def prefixed(prefix, state):
    return {prefix + key: tensor for key, tensor in state.items()}


OTHER = {"d.0.weight": torch.ones(3)}  # of a discriminator beside the generator


@pytest.mark.parametrize("wrap", [
    *(lambda state, key=key: {key: state, "iter": 3} for key in (
        "generator", "net_g", "netG", "net_g_ema", "G_ema", "ema", "model_state_dict", "params_ema", "network")),
    *(lambda state, prefix=prefix: prefixed(prefix, state) for prefix in (
        "net_g.", "generator.", "netG.", "model.", "module.net_g.module.", "any.thing.")),
    lambda state: {"state_dict": prefixed("generator.", state) | prefixed("discriminator.", OTHER)},
    lambda state: prefixed("generator.", {k: t + 1 for k, t in state.items()}) | prefixed("generator_ema.", state),
    lambda state: {"model": {"generator": {"params": state}, "discriminator": OTHER}},
    lambda state: {"ema": {"decay": 0.9}, "model": state},
    lambda state: {"state_dict": state, "best": np.float64(3.5), "loss": np.arange(3), "n": np.int64(2)},
    lambda state: {"g_ema": state, "args": argparse.Namespace(size=512, lr=0.1), "g_optim": {"state": {}}},
])
def test_wrappers_of_other_projects_are_known(wrap, state, tmp_path):
    torch.save(wrap(state), tmp_path / "net.pth")
    assert same(load_weights(small(), tmp_path / "net.pth"), state)


def test_numpy_scalars_of_numpy_1_load(state, tmp_path):
    torch.save({"state_dict": state, "psnr": np.float32(3)}, tmp_path / "net.pth")
    with zipfile.ZipFile(tmp_path / "net.pth") as new, zipfile.ZipFile(tmp_path / "old.pth", "w") as old:
        for name in new.namelist():
            old.writestr(name, new.read(name).replace(b"numpy._core.multi", b"numpy.core.multi"))
    assert read_weights(tmp_path / "old.pth").keys() == state.keys()


class Local:
    pass


def write_module(path, state):
    torch.save(Local(), path)


def write_torchscript(path, state):
    torch.jit.trace(torch.nn.Conv2d(1, 1, 1), torch.zeros(1, 1, 2, 2)).save(path)


def write_zip(path, state):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights.pth", b"1")


def write_bomb(path, state):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(10_000_000))


def changed(key, change):
    return lambda path, state: torch.save({**state, key: change(state[key])}, path)


FIRST = "encoder.0.conv2d.weight"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("write, message", [
    (write_module, r"holds a Python object \(.*Local\) beside tensors.*torch.save\(net.state_dict\(\), FILE\)"),
    (write_torchscript, "is a TorchScript program, not a state dict"),
    (write_zip, "is a zip archive, but not one of torch.save"),
    (write_bomb, "its entries claim 10,000,000 bytes"),
    (lambda path, state: path.write_bytes(b""), "is empty"),
    (lambda path, state: path.write_text("version https://git-lfs.github.com/spec/v1"), "Run git lfs pull"),
    (lambda path, state: path.write_text("<!DOCTYPE html>Not Found"), "is a web page or other text"),
    (lambda path, state: path.write_bytes(b"\x8f\x03\x91\xfe\x00\x7f\xc2\x10\x99"), "is no checkpoint|cannot be read"),
    (lambda path, state: path.write_bytes(pickle.dumps(Local(), protocol=2)), "cannot be read|Python object"),
    (lambda path, state: path.mkdir(), "it is a folder"),
    (lambda path, state: os.mkfifo(path), "named pipe"),
    (lambda path, state: path.symlink_to("/dev/zero"), "it is a device"),
    (lambda path, state: path.symlink_to(path), "it cannot be read: Too many levels"),
    (lambda path, state: os.truncate(os.open(path, os.O_CREAT | os.O_RDWR), 2 ** 40), "such a file has .* at most"),
    (lambda path, state: torch.save({"epoch": 3, "optimizer": {"state": {}}}, path),
     r"no weights of a known form. It holds: epoch \(int\), optimizer \(1 entries\)"),
    (lambda path, state: torch.save([1], path), "holds no weights: it is a list"),
    (lambda path, state: torch.save({"format": 1, "networks": {"G": state}, "progress": {}}, path),
     "is the complete state of a training.*latest_net_G.pth"),
    (changed(FIRST, lambda t: t * float("nan")), f"1 of .* tensors hold values that are not finite .* {FIRST}"),
    (changed(FIRST, lambda t: t.double() + 1e300), "not finite"),
    (changed(FIRST, lambda t: t.new_full(t.shape, -2e12)),
     f"1 of .* tensors hold values above 1e\\+12.*{FIRST}.*damaged"),
    (changed(FIRST, lambda t: t.to_sparse()), f"1 of .* tensors are sparse.* {FIRST}"),
    (changed(FIRST, lambda t: torch.zeros(1).expand(10 ** 13)), "expanded"),
    (changed(FIRST, lambda t: t.to("meta")), "without values"),
    (changed(FIRST, lambda t: t.to(torch.int32)), "(?s)different in kind.*torch.int32 in the file, torch.float32"),
    (changed(FIRST, lambda t: t > 0), "(?s)different in kind.*torch.bool in the file"),
    (changed(FIRST, lambda t: t.to(torch.complex64)), "(?s)different in kind.*torch.complex64 in the file"),
    (lambda path, state: torch.save(prefixed("net_g.", {k: t[:1] if t.dim() else t for k, t in state.items()}), path),
     "(?s)different in shape.*: other widths|same layers, other widths"),
])
def test_what_is_no_usable_weights_file_is_said_truly(write, message, state, tmp_path):
    path = tmp_path / "bad.pth"
    write(path, state)
    net = small()
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    with pytest.raises(WeightsError, match=message) as error:
        load_weights(net, path)
    assert "bad.pth" in str(error.value) and same(net, before)


def test_counters_that_were_halved_with_the_weights_load(state):
    matched = match_weights(small(), {key: tensor.half() for key, tensor in state.items()})
    assert all(matched[key].dtype == tensor.dtype for key, tensor in state.items())


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_one_flipped_exponent_bit_is_found(name, state, tmp_path):
    path = tmp_path / name
    if name.endswith(".pth"):
        torch.save(state, path)
    else:
        path.write_bytes(serialize(state, {"format": "pt"}))
    assert read_weights(path).keys() == state.keys()
    value = struct.pack("<f", float(state[FIRST].reshape(-1)[5]))
    content = bytearray(path.read_bytes())
    place = content.index(value) + 3
    content[place] ^= 2  # stays finite
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=rf"{name}.*damaged.*checksum"):
        read_weights(path)


def test_safetensors_without_a_checksum_load_and_changed_metadata_is_found(state, tmp_path):
    save_file(state, tmp_path / "w.safetensors")
    assert same(load_weights(small(), tmp_path / "w.safetensors"), state)
    (tmp_path / "w.pth").write_bytes(save(state))  # the content counts, not the name
    assert same(load_weights(small(), tmp_path / "w.pth"), state)
    content = serialize(state, {"format": "pt", "note": "abc"})
    (tmp_path / "w.safetensors").write_bytes(content.replace(b'"abc"', b'"abd"'))
    with pytest.raises(WeightsError, match="its checksum is wrong"):
        read_weights(tmp_path / "w.safetensors")
    (tmp_path / "w.safetensors").write_bytes(content[:-7])
    with pytest.raises(WeightsError, match="cannot be read: it is cut short or damaged"):
        read_weights(tmp_path / "w.safetensors")


def test_a_shipped_file_is_checked_under_its_path_too(tmp_path, monkeypatch, state):
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    monkeypatch.setattr(pretrained, "SUMS", tmp_path / "SHA256SUMS")
    path = tmp_path / "mine" / "generator.safetensors"
    path.parent.mkdir()
    save_file(state, path)
    pretrained.record_checksum(path)
    assert same(load_weights(small(), path), state)
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="the checksum of .* is damaged or was changed"):
        load_weights(small(), path)
