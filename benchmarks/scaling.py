# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Measures costs of training on several devices that do not depend on the accelerator.

    python -m benchmarks.scaling [--ranks 2] [--json_folder benchmarks/results]

files     listing a folder, reading its index, and the sampler: for 200,000 files on disk, and for 70 million names in
          memory (listing and reading 70 million files is extrapolated: times 350)
gradient  bytes that each device sends and receives per step, for the networks of the presets
ranks     time from torchrun's start until all ranks are connected; one message between hosts (sent once per step); a
          training step of two ranks on a CPU: flat gradient against DistributedDataParallel's buckets, alternating
workers   images/s of one loader process, and the number of such processes that 8 devices need at a given speed
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import utils.device
from benchmarks.data_loading import FIXED
from benchmarks.measuring import show
from benchmarks.train_step import bare_step, fixed_batch
from data.celeba_dataset import CelebADataset
from data.drawn.builtin_faces import write_faces
from data.loader import TrainingOrder, make_loader
from models import build_training_recipe
from options.train_options import parse_train
from utils import amp, distributed
from utils.errors import run_main
from utils.file_list import FileList, list_files
from utils.images import list_images
from utils.option_types import at_least, file_path, tool_parser

MILLIONS = 70_000_000
RESULT = "RANKS_RESULT"


def timed(job):
    start = time.perf_counter()
    result = job()
    return time.perf_counter() - start, result


def sampler_row(files, batch=32, ranks=8, steps=1000):
    order = TrainingOrder(len(files), batch, steps, seed=1, rank=3, ranks=ranks)
    first, batches = timed(lambda: iter(order))
    first, _ = timed(lambda: next(batches))
    rest, _ = timed(lambda: [[files[place.index] for place in b] for b in batches])
    return {"epoch start s": first, "indices and paths us/step": 1e6 * rest / (steps - 1)}


def files_rows(folder, count):
    for i in range(count):
        if i % 1000 == 0:
            (folder / f"{i // 1000:05d}").mkdir(parents=True)
        (folder / f"{i // 1000:05d}" / f"{i:09d}.jpg").touch()
    for parent, _, _ in os.walk(folder):
        os.utime(parent, (10 ** 9, 10 ** 9))
    index = folder.parent / "index"
    walk, _ = timed(lambda: list_files(str(folder), {".jpg"}, None))
    list_files(str(folder), {".jpg"}, index)
    read, files = timed(lambda: list_files(str(folder), {".jpg"}, index))
    size = sum(p.stat().st_size for p in index.rglob("*")) / 1e6
    rows = [{"files": count, "listing s": walk, "index read s": read, "index MB": size} | sampler_row(files)]
    scale = MILLIONS // count
    names = np.frombuffer(b"01234/000012345.jpg" * MILLIONS, np.uint8)
    many = FileList("/data", names, np.arange(1, MILLIONS + 1, dtype=np.int64) * 19)
    rows.append({"files": MILLIONS, "listing s": walk * scale, "index read s": read * scale,
                 "index MB": (names.nbytes + many._ends.nbytes) / 1e6} | sampler_row(many))
    return rows


def gradient_rows(presets):
    rows = []
    for preset in presets:
        row = {"preset": preset}
        for level in ("O0", "O2"):
            net = build_training_recipe(parse_train(["--preset", preset])).networks["G"]
            adam = utils.device.adam(net.parameters(), torch.device("cpu"), level, 1e-3, (0.9, 0.99))
            optimizer = amp.initialize(net, adam, level, average=distributed.average_)[1]
            size = sum(part.nbytes for part in optimizer._to_average)
            row |= {f"{level} MB per step": size / 1e6,
                    f"{level} MB sent per device (of 8)": size * 2 * 7 / 8 / 1e6}
        rows.append(row | {"tensors": len(optimizer._to_average)})
    return rows


def rank_part(rounds=7, steps=4):
    """Measures on each rank of a torchrun; rank 0 prints the result."""
    begun = float(os.environ["BEGUN"])
    options = parse_train(["--preset", "sparnet_builtin", "--batch_size", "2", "--device", "cpu"])
    device = distributed.join_ranks(options)
    row = {"ranks": distributed.world_size(), "start until connected s": time.time() - begun}
    messages = [timed(lambda: distributed.largest(0))[0] for _ in range(300)]
    row["message between hosts us"] = 1e6 * statistics.median(messages)
    batch = fixed_batch(options, device, torch.channels_last)
    jobs = {"alone": bare_step(options, device, "O0", torch.bfloat16),
            "flat gradient": bare_step(options, device, "O0", torch.bfloat16, distributed.average_),
            "buckets": bare_step(options, device, "O0", torch.bfloat16, distributed.average_, combine_grad=False)}
    seconds = {name: [] for name in jobs}
    for turn in range(rounds + 1):
        for name, job in jobs.items():
            distributed.gather(None)
            taken, _ = timed(lambda job=job: [job(batch) for _ in range(steps)])
            if turn:
                seconds[name].append(taken / steps)
    row |= {f"{name} s/step": statistics.median(values) for name, values in seconds.items()}
    row["flat faster than buckets"] = statistics.median(
        b / f for b, f in zip(seconds["buckets"], seconds["flat gradient"], strict=True))
    if distributed.is_main():
        print(RESULT, json.dumps(row))


def ranks_row(ranks):
    done = subprocess.run([sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}",
                           "-m", "benchmarks.scaling", "--rank_part"], capture_output=True, text=True, check=True,
                          env=os.environ | {"BEGUN": str(time.time()), "OMP_NUM_THREADS": "1"})
    line = next(line for line in done.stdout.splitlines() if line.startswith(RESULT))
    return json.loads(line.removeprefix(RESULT))


def workers_rows(faces, speeds=(100, 300, 1000, 3000), batches=40):
    """Returns the rows for devices that train at each of `speeds` images/s."""
    dataset = CelebADataset(list_images(str(faces), "FACES"), 128, 8, FIXED, seed=0)
    loader = make_loader(dataset, TrainingOrder(len(dataset), 32, batches), workers=1)
    start = time.perf_counter()
    for seen, _ in enumerate(loader):
        if seen == 3:
            start = time.perf_counter()
    measured = (batches - 4) * 32 / (time.perf_counter() - start)
    return [{"images/s of one worker": measured, "images/s of one device": speed, "images/s of 8 devices": 8 * speed,
             "workers per device": -(-speed // int(measured)),
             "cores of the machine": 8 * (1 + -(-speed // int(measured)))}
            for speed in speeds]


def main():
    parser = tool_parser(__doc__)
    parser.add_argument("--files", type=at_least(1, largest=1_000_000), default=200_000,
                        help="number of files to list (default: 200000)")
    parser.add_argument("--ranks", type=at_least(1, largest=1024), nargs="+", default=[2],
                        help="numbers of ranks to measure (default: 2)")
    parser.add_argument("--presets", nargs="+",
                        default=["sparnet_celeba", "sparnet_light_attn3d", "sparnet_half_width", "sparnet_builtin"])
    parser.add_argument("--json_folder", type=file_path, default=None,
                        help="folder for the JSON files scaling_*.json (default: none)")
    parser.add_argument("--rank_part", action="store_true", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.rank_part:
        return rank_part()

    def path(name):
        return a.json_folder and a.json_folder / f"scaling_{name}.json"

    with tempfile.TemporaryDirectory() as folder:
        write_faces(Path(folder) / "faces", 400, first_seed=0)
        show("One worker's speed, and the workers that 8 devices need", workers_rows(Path(folder) / "faces" / "images"),
             path("workers"))
        show(f"Files and the order of samples, 8 ranks of 32 (listing {MILLIONS:,} files and reading their index are "
             f"extrapolated: {MILLIONS // a.files} times the row above)", files_rows(Path(folder) / "many", a.files),
             path("files"))
    show("Gradient bytes", gradient_rows(a.presets), path("gradient"))
    show("Ranks on a CPU (gloo)", [ranks_row(ranks) for ranks in a.ranks], path("ranks"))


if __name__ == "__main__":
    run_main(main)
