"""What several devices cost that does not depend on the accelerator.

    python -m benchmarks.scaling [--ranks 2] [--json_folder benchmarks/results]

files     listing a folder, reading its index, and the sampler: for 200,000 files on disk, and for 70 million names in
          memory (a folder of so many is not made; its listing is the smaller one's, times 350)
gradient  bytes that each device sends and receives a step, for the networks of the presets
ranks     torchrun's start until all ranks have met, one word between the hosts (asked once a step), and a training
          step of two ranks on a CPU: combined flat gradient against DistributedDataParallel's buckets, in alternation
workers   images/s of one process that prepares batches, and how many of them 8 devices need at a given speed
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
from benchmarks.measuring import show
from benchmarks.train_step import bare_step, fixed_batch
from data.celeba_dataset import CelebADataset
from data.drawn.builtin_faces import write_faces
from data.loader import TrainingOrder, make_loader
from models import build_training_recipe
from options.train_options import parse_train
from utils import amp, distributed
from utils.file_list import FileList, list_files
from utils.images import list_images

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
    return {"epoch begins s": first, "indices and paths us/step": 1e6 * rest / (steps - 1)}


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
            row |= {f"{level} MB a step": size / 1e6, f"{level} sent by each of 8 MB": size * 2 * 7 / 8 / 1e6}
        rows.append(row | {"tensors": len(optimizer._to_average)})
    return rows


def rank_part(rounds=7, steps=4):
    """What each rank of a torchrun does; rank 0 prints the result."""
    begun = float(os.environ["BEGUN"])
    options = parse_train(["--preset", "sparnet_builtin", "--batch_size", "2", "--device", "cpu"])
    device = distributed.join_ranks(options)
    row = {"ranks": distributed.world_size(), "start until all have met s": time.time() - begun}
    words = [timed(lambda: distributed.largest(0))[0] for _ in range(300)]
    row["a word between hosts us"] = 1e6 * statistics.median(words)
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


def workers_rows(faces, eaten=(100, 300, 1000, 3000), batches=40):
    dataset = CelebADataset(list_images(str(faces), "FACES"), 128, 8, "mended", seed=0)
    loader = make_loader(dataset, TrainingOrder(len(dataset), 32, batches), workers=1)
    start = time.perf_counter()
    for seen, _ in enumerate(loader):
        if seen == 3:
            start = time.perf_counter()
    speed = (batches - 4) * 32 / (time.perf_counter() - start)
    return [{"images/s of one worker": speed, "a device's images/s": rate, "8 devices' images/s": 8 * rate,
             "workers a device": -(-rate // int(speed)), "cores of the machine": 8 * (1 + -(-rate // int(speed)))}
            for rate in eaten]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=200_000)
    parser.add_argument("--ranks", type=int, nargs="+", default=[2])
    parser.add_argument("--presets", nargs="+",
                        default=["sparnet_celeba", "sparnet_light_attn3d", "sparnet_half", "sparnet_builtin"])
    parser.add_argument("--json_folder", type=Path, default=None)
    parser.add_argument("--rank_part", action="store_true", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.rank_part:
        return rank_part()

    def path(name):
        return a.json_folder and a.json_folder / f"scaling_{name}.json"

    with tempfile.TemporaryDirectory() as folder:
        write_faces(Path(folder) / "faces", 400, first_seed=0)
        show("One worker's speed, and what 8 devices eat", workers_rows(Path(folder) / "faces" / "images"),
             path("workers"))
        show(f"Files and the order of samples, 8 ranks of 32 (listing {MILLIONS:,} files and reading their index was "
             f"not done: {MILLIONS // a.files} times the row above)", files_rows(Path(folder) / "many", a.files),
             path("files"))
    show("Gradient bytes", gradient_rows(a.presets), path("gradient"))
    show("Ranks on a CPU (gloo)", [ranks_row(ranks) for ranks in a.ranks], path("ranks"))


if __name__ == "__main__":
    main()
