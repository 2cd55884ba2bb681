# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Parts of benchmarks/on_device.py that train for some steps with newtrain.py, on faces that the project draws."""
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.device_parts.speed import TOY
from benchmarks.measuring import ROOT
from data.drawn.builtin_faces import write_faces
from engine.checkpoint import list_states, read_state
from utils.errors import UserError


def train(folder, device, name, steps, *words, toy, ranks=1):
    """Runs newtrain.py with the faces in folder/faces; returns the run's folder."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"] if ranks > 1 else []
    command = [sys.executable, *launcher, "newtrain.py", "--preset", "sparnet_builtin", "--dataroot",
               f"{folder}/faces/images", "--device", device.type, "--checkpoints_dir", str(folder), "--name", name,
               "--train_steps", str(steps), "--print_freq", "10", *TOY["sparnet"] * toy, *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace")
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise UserError(f"newtrain.py --name {name}: exit status {done.returncode}: {' '.join(last)}", status=1)
    return Path(folder) / name


def last_state(folder):
    state, damage = read_state(list_states(folder)[-1])
    if damage:
        raise UserError(f"{folder}: the checkpoint {damage}", status=1)
    return state


def precision(device, toy):
    """O0 and O2 from the same weights, over the same faces."""
    steps, rows = 4 if toy else 500, []
    with tempfile.TemporaryDirectory() as folder:
        write_faces(Path(folder) / "faces", 16 if toy else 800, 0, 32 if toy else 128)
        write_faces(Path(folder) / "others", 4 if toy else 100, 100_000, 32 if toy else 128)
        for level in ("O0", "O2"):
            run = train(folder, device, level, steps, "--opt_level", level, "--valroot",
                        f"{folder}/others/images", *["--batch_size", 2] * toy, toy=toy)
            records = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
            psnr = [record["psnr"] for record in records if "psnr" in record][-1]
            rows.append({"preset": "sparnet_builtin", "precision": level, "steps": steps, "PSNR dB": psnr,
                         **{f"loss {name}": value for name, value in last_state(run)["progress"]["losses"].items()}})
    return rows


def ranks(device, toy):
    """images/s of one card and of all cards of this machine; on a CPU of one and of two processes."""
    cards = 2 if device.type == "cpu" else torch.get_device_module(device).device_count()
    if cards == 1:
        return [{"cards": "one only: nothing to compare"}]
    rows, steps = [], 4 if toy else 200
    with tempfile.TemporaryDirectory() as folder:
        write_faces(Path(folder) / "faces", 16 if toy else 800, 0, 32 if toy else 128)
        for number in (1, cards):
            run = train(folder, device, f"ranks_{number}", steps, *["--batch_size", 2] * toy, toy=toy, ranks=number)
            speed = re.search(r"Performance: ([\d.]+) images/sec", (run / "train.log").read_text(encoding="utf-8"))
            rows.append({"processes": number, "images/s": float(speed[1])})
    return rows


def resume(device, toy):
    """Two halves of a run against the whole run: the weights' largest difference."""
    rows, steps = [], 4 if toy else 40
    with tempfile.TemporaryDirectory() as folder:
        write_faces(Path(folder) / "faces", 16 if toy else 800, 0, 32 if toy else 128)
        small = ["--batch_size", 2] * toy
        whole, again = (train(folder, device, name, steps, *small, toy=toy) for name in ("whole", "again"))
        parts = train(folder, device, "parts", steps // 2, "--save_latest_freq", steps // 2, *small, toy=toy)
        train(folder, device, "parts", steps, "--continue_train", *small, toy=toy)
        for name, run in (("the same run twice", again), ("stopped and resumed", parts)):
            a, b = (last_state(r)["networks"]["G"] for r in (whole, run))
            differences = [float((a[key].double() - b[key].double()).abs().max()) for key in a]
            rows.append({"compared with a whole run": name, "steps": steps, "largest difference": max(differences),
                         "bit-equal": "yes" if all(torch.equal(a[key], b[key]) for key in a) else "no"})
    return rows
