"""What every network needs around it: initial weights, reading and matching checkpoints, counting."""

import os

import safetensors.torch
import torch

from models.base_model import ChecksWeights
from models.precision import widened
from utils.errors import UserError

# A checkpoint may hold the weights under one of these keys; the first one present is read. GPEN's own trainings
# keep the generator as g, its average as g_ema and the discriminator as d, FSRGAN's its own as state_dict_disc; a
# discriminator's key (DISCRIMINATORS) is to be asked for.
CONTAINERS = ("state_dict", "state_dict_G", "params_ema", "params", "model", "g_ema", "g")
DISCRIMINATORS = ("d", "state_dict_disc")
# Put before every key by DataParallel and by torch.compile.
PREFIXES = ("module.", "_orig_mod.")
LISTED = 8  # keys of a kind that an error lists


class WeightsError(UserError):
    """A weights file that cannot be read, or that does not fit the network."""


def count_parameters(net):
    """Number of parameters of `net`; buffers such as running statistics do not count."""
    return sum(parameter.numel() for parameter in net.parameters())


def read_weights(path, containers=CONTAINERS):
    """Read a checkpoint to {key: CPU tensor}; nothing but tensors and plain containers is ever unpickled.

    Accepts .safetensors, and of torch's own format a plain state dict or one under a key of `containers`; with or
    without PREFIXES. Tensors stored in float16 or bfloat16 come back in float32. Raises WeightsError, naming the file,
    for anything else.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise WeightsError(f"no weights file at {path!r}")
    try:
        if path.endswith(".safetensors"):
            state = safetensors.torch.load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # safetensors, torch, zipfile and pickle raise a dozen kinds for a damaged file
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
    """Return `state` ready for `net.load_state_dict`: in the order and dtypes of `net`, which stays as it is.

    `num_batches_tracked`, absent from older checkpoints, becomes 0 where it is missing. Raises WeightsError,
    listing what differs, unless every other key and shape is that of `net`. A network that knows better what its
    weights may differ in says so itself, in a method refusal(state).
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
    """Load the checkpoint at `path` into `net`, strictly, and return `net`; containers: as of read_weights.

    `net` is the bare network (not wrapped for data parallelism), on any device and of any dtype. Raises
    WeightsError, naming the file and what differs, and leaves `net` unchanged then.
    """
    state = read_weights(path, containers)
    try:
        state = match_weights(net, state)
    except WeightsError as error:
        raise WeightsError(f"{os.fspath(path)!r}: {error}") from None
    net.load_state_dict(state, strict=True)
    return net


def load_pretrained(networks, options):
    """Load what --pretrain_model_path and --pretrain_d_path name into {role: network}; UserError where it cannot be."""
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
    """`state` without the prefixes that all of its keys share."""
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
