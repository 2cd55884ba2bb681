# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Measures GPEN's restoring and learning: this project's form against the grouped form (benchmarks/gpen_grouped.py).

    python -m benchmarks.gpen_restore --json benchmarks/results/gpen_restore_cpu.json

Restoring: gpen_512, float32 and, where the device computes with it, half precision (O2), batches of one and four faces.
Learning: gpen_256_narrow and its discriminator in float32, both phases forward and backward, without an optimizer, four
faces. The two forms alternate.
`faster` is the median over rounds of grouped / project time. `than one by one` is the median of the time per face in
batches of the smallest size / in this batch. GB is the peak memory of a separate process; on a CPU this is all of its
memory. OMP_NUM_THREADS sets the number of threads.
"""
import multiprocessing
import statistics
from pathlib import Path

import torch
from torch.nn import functional as F

import utils.device
from benchmarks.gpen_grouped import grouped_form
from benchmarks.measuring import alternate, machine, median_ratio, show
from models import create_network
from utils import amp
from utils.errors import run_main
from utils.option_types import at_least, tool_parser

FORMS = ("project", "grouped")


def built(form, name, device):
    """Returns (the network `name` in `form`, the memory layout of that form)."""
    layout = utils.device.memory_format(device) if form == "project" else torch.contiguous_format
    net = create_network(name).to(device, memory_format=layout)
    return (grouped_form(net) if form == "grouped" else net), layout


def restoring(form, precision, batches, device):
    """Returns {batch size: function that restores one batch}."""
    net, layout = built(form, "gpen_512", device)
    amp.prepare_inference(net.eval(), precision, utils.device.default_half(device))

    def job(batch):
        faces = (torch.rand(batch, 3, 512, 512, device=device) * 2 - 1).contiguous(memory_format=layout)

        def run():
            with torch.no_grad():
                net(faces)
        return run
    return {batch: job(batch) for batch in batches}


def learning(form, precision, batches, device):
    """Returns {batch size: function that runs G and D forward and backward}; `precision` must be O0."""
    generator, layout = built(form, "gpen_256_narrow", device)
    discriminator, _ = built(form, "gpen_256_narrow_discriminator", device)

    def job(batch):
        lr, hr = ((torch.rand(batch, 3, 256, 256, device=device) * 2 - 1).contiguous(memory_format=layout)
                  for _ in range(2))

        def run():
            discriminator.requires_grad_(False)
            sr = generator(lr)
            (F.smooth_l1_loss(sr, hr) + F.softplus(-discriminator(sr)).mean()).backward()
            discriminator.requires_grad_(True)
            (F.softplus(discriminator(sr.detach())) + F.softplus(-discriminator(hr))).mean().backward()
            for net in (generator, discriminator):
                net.zero_grad()
        return run
    return {batch: job(batch) for batch in batches}


def peak_gb(job, form, precision, batch, device):
    """Returns the peak memory of this process, in GB, while it runs the job twice; call it in a new process."""
    function = job(form, precision, [batch], device)[batch]
    for _ in range(2):
        function()
    if device.type != "cpu":
        return utils.device.peak_memory_gb(device)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    return int(status["VmHWM"].split()[0]) * 1024 / 1e9  # getrusage would include the parent's memory


def measure(job, precision, batches, device, rounds):
    """Returns the table's rows, one per batch size."""
    jobs = {(form, batch): function for form in FORMS
            for batch, function in job(form, precision, batches, device).items()}
    alternate(jobs, 1, device)  # warm up
    seconds = {(form, batch): [s / batch for s in times]
               for (form, batch), times in alternate(jobs, rounds, device).items()}
    rows = []
    for batch in batches:
        with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
            peaks = [pool.apply(peak_gb, (job, form, precision, batch, device)) for form in FORMS]
        rows.append({
            "job": job.__name__, "precision": precision, "faces": batch,
            **{f"{form} s/face": statistics.median(seconds[form, batch]) for form in FORMS},
            "faster": median_ratio(seconds["grouped", batch], seconds["project", batch]),
            "than one by one": median_ratio(seconds["project", batches[0]], seconds["project", batch]),
            **{f"{form} GB": peak for form, peak in zip(FORMS, peaks, strict=True)}})
    return rows


def main():
    parser = tool_parser(__doc__)
    parser.add_argument("--device", default="auto", help="device: auto, npu, cuda or cpu (default: auto)")
    parser.add_argument("--rounds", type=at_least(1, largest=1_000_000), default=3,
                        help="number of alternating rounds (default: 3)")
    parser.add_argument("--json", default=None, help="JSON file to write (default: none)")
    a = parser.parse_args()
    device = utils.device.pick_device(a.device)
    utils.device.set_up(device)
    torch.manual_seed(0)
    half = [] if utils.device.best_opt_level(device) == "O0" else [(restoring, "O2", [1, 4])]
    rows = [row for job, precision, batches in ((restoring, "O0", [1, 4]), *half, (learning, "O0", [4]))
            for row in measure(job, precision, batches, device, a.rounds)]
    show(f"GPEN on {machine(device)}; medians of {a.rounds} alternating rounds", rows, a.json)


if __name__ == "__main__":
    run_main(main)
