# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Counts the memory of a training step: bytes kept for the backward pass, and those of weights and optimizer states.

    python -m benchmarks.kept_for_backward --preset sparnethd_ffhq --json benchmarks/results/kept_sparnethd.json

Nothing is computed: the networks are built on torch's device `meta`, which knows only shapes and types. So networks too
large for a CPU are counted in seconds. The result is a lower bound, not a measurement: a device also needs the largest
operator's workspace and temporary gradients.
"""
import tempfile
import warnings
from pathlib import Path

import torch

from benchmarks.measuring import show
from benchmarks.train_step import fixed_batch, plain_optimizer
from models import build_training_recipe
from models.vgg import VGG19Features
from options.train_options import parse_train
from utils import amp
from utils.errors import run_main
from utils.option_types import tool_parser

GB = 1e9


class Kept:
    """Collects the storages that autograd saves, each once, except those of the tensors `without`."""

    def __init__(self, without):
        self.storages = {}
        self.without = {tensor.untyped_storage()._cdata for tensor in without}

    def pack(self, tensor):
        storage = tensor.untyped_storage()
        if storage._cdata not in self.without:
            self.storages[storage._cdata] = storage  # the reference prevents reuse of the address
        return tensor

    def gb(self):
        return sum(storage.nbytes() for storage in self.storages.values()) / GB


def measure(words, opt_level):
    """Returns one row: gigabytes kept for backward after phase G's forward pass, and gigabytes of the states."""
    options = parse_train([*words, f"--opt_level={opt_level}"])
    device = torch.device("meta")
    with device, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that loading weights to `meta` has no effect
        recipe = build_training_recipe(options)
    optimizers = {}
    for name, spec in recipe.optimizers.items():
        nets = [recipe.networks[role].to(device).train() for role in spec.roles]
        plain = plain_optimizer(spec, spec.parameter_groups(recipe.networks))
        optimizers[name] = amp.initialize(nets, plain, opt_level, half=torch.float16)[1]
    for net in recipe.frozen.values():
        amp.prepare_inference(net.to(device), opt_level, torch.float16)
    tensors = [t for net in (*recipe.networks.values(), *recipe.frozen.values())
               for t in (*net.parameters(), *net.buffers())]
    kept = Kept(tensors)
    with torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda tensor: tensor):
        next(recipe.training_step(fixed_batch(options, device, torch.contiguous_format), 0))
    count = sum(block.master.numel() for optimizer in optimizers.values() for block in optimizer.blocks)
    low = sum(block.low.numel() for optimizer in optimizers.values() for block in optimizer.blocks
              if block.low is not None)
    averages = sum(p.numel() for role in recipe.ema_decay for p in recipe.networks[role].parameters())
    states = (16 * count + 4 * low + 4 * averages) / GB  # float32 master, gradient, two Adam states; half copies; EMA
    return {"precision": opt_level, "checkpointing": "--checkpointing" in words, "batch": options.batch_size,
            "pixels": options.load_size, "kept GB": kept.gb(), "states GB": states, "sum GB": kept.gb() + states}


def main():
    parser = tool_parser(__doc__)
    parser.add_argument("--preset", default="sparnethd_ffhq",
                        help="preset to count (default: sparnethd_ffhq); other options go to newtrain.py's parser")
    parser.add_argument("--json", default=None, help="JSON file to write (default: none)")
    a, others = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        vgg19 = Path(folder) / "vgg19.pth"  # random weights: only their shapes matter
        torch.save(VGG19Features().state_dict(), vgg19)
        words = ["--preset", a.preset, *others, f"--vgg19_path={vgg19}"]
        rows = [measure([*words, *more], level) for level in ("O0", "O2") for more in ([], ["--checkpointing"])]
    show(f"Kept for backward by {' '.join([a.preset, *others])}, counted without a device, not measured", rows, a.json)


if __name__ == "__main__":
    run_main(main)
