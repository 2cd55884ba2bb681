"""Spectral norm of a whole network: torch's own, layer by layer, and the project's, shapes together.

    python -m benchmarks.spectral_norm --json benchmarks/results/spectral_norm_cpu.json

Forward and backward of SPARNetHD at 64 pixels, where the convolutions take little and the norm much of the time.
Operators are counted, too: each is a launch on an accelerator.
"""
import argparse
import statistics

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import utils.device
from benchmarks.measuring import alternate, machine, median_ratio, show
from models.sparnet import SPARNet
from models.spectral_norm import add_spectral_norm

SHAPES = {"released widths": {"min_ch": 32, "max_ch": 512}, "small": {"min_ch": 16, "max_ch": 96}}


def normalised_by_torch(net):
    for module in list(net.modules()):
        if isinstance(module, nn.Conv2d):
            nn.utils.spectral_norm(module)
    return net


def measure(add, widths, device):
    """A function that takes a SPARNetHD forward and backward once; `add` puts the norm on."""
    torch.manual_seed(0)
    net = SPARNet(in_size=512, out_size=512, min_feat_size=32, norm_type="in", **widths)
    net = add(net).to(device).train()
    picture = torch.randn(1, 3, 64, 64, device=device)

    def run():
        net(picture).sum().backward()
    return run


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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", default=None)
    a = parser.parse_args()
    device = utils.device.pick_device(a.device)
    rows = []
    for name, widths in SHAPES.items():
        none = measure(lambda net: net, widths, device)
        jobs = {"none": none, "torch": measure(normalised_by_torch, widths, device),
                "own": measure(add_spectral_norm, widths, device)}
        alternate(jobs, 1, device)  # warm up
        seconds = alternate(jobs, a.rounds, device)
        rows.append({"SPARNetHD": name,
                     **{f"{which} ms": statistics.median(s) * 1e3 for which, s in seconds.items()},
                     **{f"{which} operators": count_operators(job) for which, job in jobs.items()},
                     "whole step faster": median_ratio(seconds["torch"], seconds["own"])})
    show(f"Spectral norm, forward and backward at 64 pixels, on {machine(device)}; medians of {a.rounds} alternating "
         f"rounds", rows, a.json)


if __name__ == "__main__":
    main()
