"""Spectral norm in a whole training step of SPARNetHD: torch's, layer by layer, against the project's, by shape.

    python -m benchmarks.spectral_norm --json benchmarks/results/spectral_norm_cpu.json

A step is the Trainer's without log and checks: both networks, both phases, the optimizers. `none` is the same step
without the norm. Operators are counted too: each is a launch on an accelerator. A CPU computes in one thread, and its
processor time is taken: other programs on the machine disturb that least.
"""
import argparse
import statistics
import sys
import time
from unittest import mock

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import utils.device
from benchmarks.measuring import alternate, machine, median_ratio, show
from benchmarks.train_step import bare_step, fixed_batch
from models import sparnethd
from options.train_options import parse_train

# Arguments of newtrain.py. The last are the released widths, at a size that a CPU can train.
STEPS = [["--preset", "sparnethd_builtin"], ["--preset", "sparnethd_256_small", "--batch_size", "2"],
         ["--preset", "sparnethd_ffhq_upstream", "--load_size", "128", "--D_scales", "2", "--lambda_pcp", "0",
          "--batch_size", "1"]]


def by_torch(net):
    for module in list(net.modules()):
        if isinstance(module, nn.Conv2d):
            nn.utils.spectral_norm(module)
    return net


NORMS = {"none": lambda net: net, "torch": by_torch, "own": sparnethd.add_spectral_norm}


def training_step(options, norm, device):
    """Returns a function that takes one training step; `norm` puts the spectral norm on a network."""
    torch.manual_seed(0)
    opt_level = options.opt_level or utils.device.default_opt_level(device)
    with mock.patch.object(sparnethd, "add_spectral_norm", norm):
        step = bare_step(options, device, opt_level, utils.device.default_half(device))
    batch = fixed_batch(options, device, utils.device.memory_format(device))
    return lambda: step(batch)


class OperatorCount(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += 1
        return function(*args, **(kwargs or {}))


def count_operators(job):
    with OperatorCount() as operators:
        job()
    return operators.count


def measure(arguments, rounds, device):
    """Returns the table's row for the training step that newtrain.py's `arguments` describe."""
    options = parse_train([*arguments, "--device", str(device), "--dataroot", "unused"])
    jobs = {name: training_step(options, norm, device) for name, norm in NORMS.items()}
    alternate(jobs, 1, device)  # warm up
    seconds = alternate(jobs, rounds, device, time.process_time if device.type == "cpu" else time.perf_counter)
    row = {"preset": options.preset, "pixels": options.load_size, "batch": options.batch_size,
           **{f"{name} ms": statistics.median(s) * 1e3 for name, s in seconds.items()},
           **{f"{name} operators": count_operators(job) for name, job in jobs.items()},
           "own faster than torch": median_ratio(seconds["torch"], seconds["own"])}
    print(row, file=sys.stderr)
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", default=None)
    a = parser.parse_args()
    device = utils.device.pick_device(a.device)
    if device.type == "cpu":
        torch.set_num_threads(1)
    rows = [measure(arguments, a.rounds, device) for arguments in STEPS]
    show(f"Spectral norm in a training step of SPARNetHD on {machine(device)}; medians of {a.rounds} alternating "
         f"rounds", rows, a.json)


if __name__ == "__main__":
    main()
