# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Reads weights files, checks them, matches them to networks and loads them."""
import hashlib
import itertools
import os
import pickle
import re
import zipfile
from collections.abc import Mapping

import torch
from safetensors import safe_open

from models.base_model import ChecksWeights, ExtendsWeights
from models.precision import widened
from utils.archive import HARMLESS, find_damage
from utils.errors import UserError, first_line, shown
from utils.files import check_regular_file
from utils.pretrained import check_known_file

# A checkpoint may hold the weights under one of these keys, also one within another; the first one that holds a state
# dict is read, averages before raw weights. They are those of BasicSR (params), GPEN (g, g_ema), PyTorch Lightning and
# OpenMMLab (state_dict), pix2pix and its descendants (netG), and of common training scripts. FSRGAN's published code
# saves the discriminator as state_dict_disc. A discriminator's key (DISCRIMINATORS) is read only on request.
CONTAINERS = ("state_dict", "state_dict_G", "params_ema", "params", "generator_ema", "net_g_ema", "netG_ema", "G_ema",
              "g_ema", "model_ema", "ema", "model_state_dict", "model", "generator", "net_g", "netG", "net_G", "G", "g",
              "gen", "net", "network", "module", "weights")
DISCRIMINATORS = ("d", "state_dict_disc", "discriminator", "net_d", "netD", "net_D", "D")
# DataParallel and torch.compile put these before every key.
PREFIXES = ("module.", "_orig_mod.")
OTHER = 0.9  # share of missing keys from which on a file is of another network
LISTED = 8  # keys that an error lists per kind
LARGEST = 32 * 2 ** 30  # bytes of a weights file; the largest published face network has 0.3 GB
GREATEST = 1e12  # absolute value of a weight; trained ones are far below it, a flipped exponent is often above it
DIGEST = "sha256"  # in the metadata of a .safetensors file: what `digest` returns for the rest of the file


class WeightsError(UserError):
    """A weights file that cannot be read, or that does not fit the network."""


def count_parameters(net):
    """Returns the number of parameters of `net`, without buffers (e.g. running statistics)."""
    return sum(parameter.numel() for parameter in net.parameters())


def read_weights(path, containers=CONTAINERS):
    """Reads a checkpoint as {key: CPU tensor}; unpickles only tensors, plain containers and what HARMLESS lists.

    Accepts .safetensors, and torch files with a state dict, either plain or under a key of `containers`. PREFIXES are
    removed from keys. float16 and bfloat16 tensors become float32. Raises WeightsError, naming the file, for any other
    content, a wrong checksum, and values that are not finite in float32.
    """
    path = os.fspath(path)
    try:
        size = check_regular_file(path, LARGEST)
        check_known_file(path)
    except UserError as error:
        raise WeightsError(f"weights file {error}") from None
    try:
        with open(path, "rb") as file:
            start = file.read(64)
        content = _reader(start, size)(path)
    except WeightsError as error:
        raise WeightsError(f"{shown(path, 300)!r} ({size:,} bytes) {error}") from None
    except Exception as error:  # safetensors, torch, zipfile and pickle raise a dozen types for a damaged file
        raise WeightsError(f"{shown(path, 300)!r} ({size:,} bytes) cannot be read: it is cut short or "
                           f"damaged: {shown(first_line(error))}") from None
    state = _find_state(content, containers)
    if state is None:
        raise WeightsError(f"{shown(path, 300)!r} {_describe(content)}")
    try:
        return _checked(_strip(state), size)
    except WeightsError as error:
        raise WeightsError(f"{shown(path, 300)!r}: {error}") from None


def digest(weights, metadata):
    """Returns the SHA-256 of {key: tensor} and of a .safetensors file's metadata without DIGEST, in hexadecimal."""
    found = hashlib.sha256(repr(sorted((key, value) for key, value in metadata.items() if key != DIGEST)).encode())
    for key in sorted(weights):
        tensor = weights[key]
        found.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def _reader(start, size):
    """Returns the function that reads a file which begins with the bytes `start`. Raises WeightsError if none does."""
    if start.startswith(b"PK\x03\x04"):
        return _read_archive
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= size - 8:
        return _read_safetensors
    if start.startswith(b"\x80"):
        return _unpickle
    if not start:
        raise WeightsError("is empty. Copy or download it again")
    if start.startswith(b"version ") and b"git-lfs" in start:
        raise WeightsError("is a pointer of Git LFS, not the weights themselves. Run git lfs pull")
    if start.lstrip().startswith((b"<", b"{")):
        raise WeightsError("is a web page or other text, not a checkpoint. Download the file itself")
    raise WeightsError("is no checkpoint (.pth or .safetensors), or its beginning is damaged")


def _read_safetensors(path):
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (the file is no dict)
    if DIGEST in metadata and metadata[DIGEST] != digest(state, metadata):
        raise WeightsError("is damaged: its checksum is wrong. Copy or download it again")
    return state


def _read_archive(path):
    damage = find_damage(path)
    if damage:
        raise WeightsError(f"is cut short or damaged: {shown(damage)}. Copy or download it again")
    with zipfile.ZipFile(path) as archive:
        names = [name.partition("/")[2] for name in archive.namelist()]
    if "constants.pkl" in names:
        raise WeightsError("is a TorchScript program, not a state dict. Load it with torch.jit.load and save its "
                           "state_dict()")
    if "data.pkl" not in names:
        raise WeightsError("is a zip archive, but not one of torch.save. Unpack it, if the weights are inside")
    return _unpickle(path)


def _unpickle(path):
    try:
        with torch.serialization.safe_globals(HARMLESS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        if named is None:
            raise
        raise WeightsError(f"holds a Python object ({shown(named[1])}) beside tensors. It is not loaded, because that "
                           f"could run code. Save the state dict alone: torch.save(net.state_dict(), FILE)") from None


def _find_state(content, containers, depth=4):
    """Returns the state dict in `content`: itself, or what is under a key of `containers`; None if there is none."""
    if _is_state_dict(content):
        return content
    if not isinstance(content, Mapping) or not depth or _is_training_state(content):
        return None
    inside = (_find_state(content[key], containers, depth - 1) for key in containers if key in content)
    return next((state for state in inside if state is not None), None)


def _is_training_state(content):
    return isinstance(content, Mapping) and "networks" in content and "progress" in content


def _describe(content):
    """Returns why `content`, which a checkpoint holds, gives no weights: the end of a sentence about the file."""
    if _is_training_state(content):
        return ("is the complete state of a training, from which --continue_train goes on. Give one of the weights "
                "files beside it, e.g. latest_net_G.pth")
    if isinstance(content, Mapping):
        listed = [f"{shown(key)} ({_kind_of(value)})" for key, value in itertools.islice(content.items(), LISTED)]
        more = f" and {len(content) - LISTED} more" if len(content) > LISTED else ""
        return f"holds no weights of a known form. It holds: {', '.join(listed) or 'nothing'}{more}"
    return f"holds no weights: it is a {type(content).__name__}, not a dict of tensors"


def _kind_of(value):
    if torch.is_tensor(value):
        return f"tensor {_shape(value)}"
    return f"{len(value)} entries" if isinstance(value, (Mapping, list, tuple)) else type(value).__name__


def _checked(state, size):
    """Returns `state` with float32 for half values. Raises WeightsError unless all tensors are plain and finite.

    size: of the file; a tensor that is larger was expanded and would need memory without bound.
    """
    odd = [key for key, tensor in state.items() if tensor.layout != torch.strided or tensor.device.type != "cpu"
           or tensor.is_quantized or tensor.numel() > size]
    if odd:
        raise WeightsError(f"{len(odd)} of {len(state)} tensors are sparse, quantized, expanded or without values, "
                           f"e.g. {shown(odd[0])}. Save plain tensors.")
    state = {key: widened(tensor) for key, tensor in state.items()}
    real = {key: tensor.float() for key, tensor in state.items() if tensor.is_floating_point()}
    for holds, test in (("values that are not finite (nan or infinity)", lambda values: values.isfinite()),
                        (f"values above {GREATEST:g}", lambda values: values.abs() <= GREATEST)):
        wrong = [key for key, values in real.items() if not test(values).all()]
        if wrong:
            raise WeightsError(f"{len(wrong)} of {len(state)} tensors hold {holds}, e.g. {shown(wrong[0])}: the file "
                               f"is damaged, or its training failed. Take an earlier one.")
    return state


def match_weights(net, state):
    """Returns `state` for `net.load_state_dict`, in the order and dtypes of `net`. `net` is unchanged.

    A missing `num_batches_tracked` (older checkpoints) becomes 0. Raises WeightsError, listing the differences, if any
    other key or shape differs. A network may give its own reason in a method refusal(state), see ChecksWeights.
    """
    own = net.state_dict()
    state = _unwrapped(_strip(state), own)
    refusal = net.refusal(state) if isinstance(net, ChecksWeights) else None
    if refusal:
        raise WeightsError(refusal)
    counters = {key: torch.zeros_like(own[key]) for key in own if key.endswith("num_batches_tracked")}
    given = {**counters, **state}
    missing = [key for key in own if key not in given]
    unexpected = [key for key in given if key not in own]
    shared = [key for key in own if key in given]
    shapes = [f"{key}: {_shape(given[key])} in the file, {_shape(own[key])} in the network"
              for key in shared if given[key].shape != own[key].shape]
    kinds = [f"{key}: {given[key].dtype} in the file, {own[key].dtype} in the network"
             for key in shared if not _converts(given[key].dtype, own[key].dtype)]
    if len(missing) >= OTHER * (len(own) - len(counters)):
        raise WeightsError(f"the weights do not fit {type(net).__name__}: hardly any key is the same: this looks like "
                           f"the file of another kind of network")
    if missing or unexpected or shapes or kinds:
        raise WeightsError("\n".join([
            f"the weights do not fit {type(net).__name__}",
            *_list("missing from the file", missing),
            *_list("unexpected in the file", unexpected),
            *_list("different in shape", shapes),
            *_list("different in kind", kinds),
            "hint: " + _hint(missing, unexpected, shapes, kinds)]))
    return {key: given[key].to(tensor.dtype) for key, tensor in own.items()}


def _converts(given, own):
    """Returns whether values of dtype `given` may become `own`: counters are floats where all weights were halved."""
    return given == own or given.is_floating_point and own != torch.bool and not own.is_complex


def _unwrapped(state, own):
    """Returns the part of `state` under the prefix that gives most keys of the network `own`, or all of `state`.

    A file of several networks, or of a wrapper around the network, has prefixes such as net_g. or generator. Of two
    that fit equally well the average (ema) is taken.
    """
    def common(keys):
        return len(own.keys() & keys)

    if not own or own.keys() <= state.keys():
        return state
    names = [name for name in own if not name.endswith("num_batches_tracked")]
    wrapped = {}
    for prefix in {key.removesuffix(name) for name in (names[0], names[-1], max(names, key=len)) for key in state
                   if key.endswith(f".{name}")}:
        wrapped[prefix] = {key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)}
    best = max(wrapped, key=lambda prefix: (common(wrapped[prefix].keys()), "ema" in prefix.lower(), prefix),
               default=None)
    return wrapped[best] if best and common(wrapped[best].keys()) > common(state.keys()) else state


def load_weights(net, path, containers=CONTAINERS):
    """Loads the checkpoint at `path` strictly into `net` and returns `net`; containers: see read_weights.

    `net` is the bare network (not wrapped for data parallelism), on any device and of any dtype. Raises
    WeightsError, naming the file and the differences; `net` is then unchanged.
    """
    _load(net, path, read_weights(path, containers))
    return net


def load_pretrained(networks, options):
    """Loads --pretrain_model_path and --pretrain_d_path into {role: network}. Raises UserError if one fails.

    Returns a sentence on the parts of the generator that the file lacks and that start without effect
    (ExtendsWeights), or None.
    """
    note, path = None, options.pretrain_model_path
    if path:
        net, state = networks["G"], read_weights(path)
        if isinstance(net, ExtendsWeights):
            given = _unwrapped(_strip(state), net.state_dict())
            state = net.extended(given)
            added = sorted({key.partition(".")[0] for key in state.keys() - given.keys()})
            note = f"{path} lacks {', '.join(added)}: they start without effect." if added else None
        _load(net, path, state)
    if options.pretrain_d_path:
        if "D" not in networks:
            raise UserError(f"--pretrain_d_path: --model {options.model} trains no discriminator here.")
        load_weights(networks["D"], options.pretrain_d_path, containers=(*DISCRIMINATORS, *CONTAINERS))
    return note


def _load(net, path, state):
    try:
        state = match_weights(net, state)
    except WeightsError as error:
        raise WeightsError(f"{os.fspath(path)!r}: {error}") from None
    net.load_state_dict(state, strict=True)


def _is_state_dict(state):
    return (isinstance(state, dict) and len(state) > 0
            and all(isinstance(key, str) and torch.is_tensor(tensor) for key, tensor in state.items()))


def _strip(state):
    """Returns `state` without the PREFIXES that all keys share."""
    while prefix := next((p for p in PREFIXES if state and all(key.startswith(p) for key in state)), None):
        state = {key[len(prefix):]: tensor for key, tensor in state.items()}
    return state


def _shape(tensor):
    return "x".join(map(str, tensor.shape)) or "a single number"


def _list(title, lines):
    if not lines:
        return []
    rest = len(lines) - LISTED
    more = [f"    ... and {rest} more"] if rest > 0 else []
    return [f"  {title} ({len(lines)}):", *(f"    {line}" for line in lines[:LISTED]), *more]


def _hint(missing, unexpected, shapes, kinds):
    if kinds and not (missing or unexpected or shapes):
        return "these are not the weights of a network of real numbers: the file is damaged or was converted wrongly"
    if shapes and not missing and not unexpected:
        return "same layers, other widths: check the options that set the channels or the kind of attention"
    return "part of the layers is the same: check the options that set the number of blocks and the norm"
