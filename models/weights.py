"""Reads weights files, matches them to networks and loads them."""

import os

import safetensors.torch
import torch

from models.base_model import ChecksWeights
from models.precision import widened
from utils.errors import UserError

# A checkpoint may hold the weights under one of these keys; the first one present is read. GPEN's published code saves
# the generator as g, its average as g_ema and the discriminator as d; FSRGAN's saves the discriminator as
# state_dict_disc. A discriminator's key (DISCRIMINATORS) is read only on request.
CONTAINERS = ("state_dict", "state_dict_G", "params_ema", "params", "model", "g_ema", "g")
DISCRIMINATORS = ("d", "state_dict_disc")
# DataParallel and torch.compile put these before every key.
PREFIXES = ("module.", "_orig_mod.")
LISTED = 8  # keys that an error lists per kind


class WeightsError(UserError):
    """A weights file that cannot be read, or that does not fit the network."""


def count_parameters(net):
    """Returns the number of parameters of `net`, without buffers (e.g. running statistics)."""
    return sum(parameter.numel() for parameter in net.parameters())


def read_weights(path, containers=CONTAINERS):
    """Reads a checkpoint as {key: CPU tensor}; unpickles only tensors and plain containers.

    Accepts .safetensors, and torch files with a state dict, either plain or under a key of `containers`. PREFIXES are
    removed from keys. float16 and bfloat16 tensors become float32. Raises WeightsError, naming the file, for any other
    content.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise WeightsError(f"no weights file at {path!r}")
    try:
        if path.endswith(".safetensors"):
            state = safetensors.torch.load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # safetensors, torch, zipfile and pickle raise a dozen types for a corrupted file
        size = os.path.getsize(path)
        raise WeightsError(f"{path!r} ({size} bytes) cannot be read as a checkpoint: it is cut short or "
                           f"damaged, is no checkpoint, or holds more than tensors") from error
    if isinstance(state, dict):
        state = next((state[key] for key in containers if isinstance(state.get(key), dict)), state)
    if not _is_state_dict(state):
        raise WeightsError(f"{path!r} holds no network weights: expected a dict of tensors, or one under "
                           f"{', '.join(containers)}")
    return {key: widened(tensor) for key, tensor in _strip(state).items()}


def match_weights(net, state):
    """Returns `state` for `net.load_state_dict`, in the order and dtypes of `net`. `net` is unchanged.

    A missing `num_batches_tracked` (older checkpoints) becomes 0. Raises WeightsError, listing the differences, if any
    other key or shape differs. A network may give its own reason in a method refusal(state), see ChecksWeights.
    """
    refusal = net.refusal(_strip(state)) if isinstance(net, ChecksWeights) else None
    if refusal:
        raise WeightsError(refusal)
    own = net.state_dict()
    counters = {key: torch.zeros_like(own[key]) for key in own if key.endswith("num_batches_tracked")}
    given = {**counters, **_strip(state)}
    missing = [key for key in own if key not in given]
    unexpected = [key for key in given if key not in own]
    shapes = [f"{key}: {_shape(given[key])} in the file, {_shape(own[key])} in the network"
              for key in own if key in given and given[key].shape != own[key].shape]
    if missing or unexpected or shapes:
        raise WeightsError("\n".join([
            f"the weights do not fit {type(net).__name__}",
            *_list("missing from the file", missing),
            *_list("unexpected in the file", unexpected),
            *_list("different in shape", shapes),
            "hint: " + _hint(len(missing), len(unexpected), len(shapes), len(own) - len(counters))]))
    return {key: given[key].to(tensor.dtype) for key, tensor in own.items()}


def load_weights(net, path, containers=CONTAINERS):
    """Loads the checkpoint at `path` strictly into `net` and returns `net`; containers: see read_weights.

    `net` is the bare network (not wrapped for data parallelism), on any device and of any dtype. Raises
    WeightsError, naming the file and the differences; `net` is then unchanged.
    """
    state = read_weights(path, containers)
    try:
        state = match_weights(net, state)
    except WeightsError as error:
        raise WeightsError(f"{os.fspath(path)!r}: {error}") from None
    net.load_state_dict(state, strict=True)
    return net


def load_pretrained(networks, options):
    """Loads --pretrain_model_path and --pretrain_d_path into {role: network}. Raises UserError if one fails."""
    if options.pretrain_model_path:
        load_weights(networks["G"], options.pretrain_model_path)
    if options.pretrain_d_path:
        if "D" not in networks:
            raise UserError(f"--pretrain_d_path: --model {options.model} trains no discriminator here.")
        load_weights(networks["D"], options.pretrain_d_path, containers=(*DISCRIMINATORS, *CONTAINERS))


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


def _hint(missing, unexpected, shapes, expected):
    if missing >= 0.9 * expected:
        return "hardly any key is the same: this looks like the file of another kind of network"
    if shapes and not missing and not unexpected:
        return "same layers, other widths: check the options that set the channels or the kind of attention"
    return "part of the layers is the same: check the options that set the number of blocks and the norm"
