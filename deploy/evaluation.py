# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""One table of deployed files: accuracy beside float32, time per face, memory and size, in each runtime.

    rows, notes = Evaluation(...).run()
"""
from __future__ import annotations

import importlib.util
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from deploy.faces import Faces
from deploy.int8 import runner, saturation_warning
from deploy.session import open_session
from metrics.protocols import usual_protocols
from metrics.psnr_ssim import decibels, mean_score, score
from restore.restorer import Restorer
from utils import strict_json
from utils.device import memory_format
from utils.errors import UserError
from utils.files import write_file
from utils.onnx_file import PACKAGES, OnnxNetwork, read_metadata
from utils.processor import processor
from utils.version import commit

ROOT = Path(__file__).parents[1]
ACCURACY_BATCH = 8  # faces
NAMES = {"torch": "PyTorch", "onnx": "ONNX Runtime", "openvino": "OpenVINO", "om": "ais_bench"}
Compute = Callable[[np.ndarray], np.ndarray]  # float32 [N, 3, S, S] -> likewise


class Candidate(NamedTuple):
    """One row of the table. compute: restores a batch. timed: whether its time and memory are measured."""
    file: Path
    runtime: str
    precision: str
    how: str  # "as deployed" or "emulated"
    compute: Compute
    timed: bool = True


def candidates(weights: Path, restorer: Restorer, files: Iterable[Path]) -> tuple[list[Candidate], list[str]]:
    """Returns (the rows to measure, notes on what is absent): the weights in torch, and each .onnx or .om file.

    An int8 file is a row of the runtime that it was made for, and a row of its exact emulation.
    """
    notes, rows = [], [Candidate(weights, "torch", "fp32", "as deployed", in_torch(restorer))]
    for path in files:
        if path.suffix == ".om":
            if importlib.util.find_spec("ais_bench"):
                rows.append(Candidate(path, "om", "as compiled", "as deployed", in_ais_bench(path)))
            else:
                notes.append(f"{path.name}: absent, the package ais_bench (Ascend) cannot be imported.")
            continue
        metadata = read_metadata(path)
        precision = metadata.get("precision", "fp32")
        for runtime in (name for name, package in PACKAGES.items() if metadata.get("made_for", package) == package):
            try:
                network = OnnxNetwork(path, runtime, threads=1)
            except UserError as error:
                notes.append(f"{path.name}: absent in {NAMES[runtime]}: {error}")
                continue
            rows.append(Candidate(path, runtime, precision, "as deployed", network))
        if precision == "int8":
            emulated = runner(open_session(path, emulated=True))
            rows.append(Candidate(path, "onnx", precision, "emulated", emulated, timed=False))
            warning = saturation_warning(int(metadata.get("weight_bits", 8)))
            notes += [f"{path.name}: {warning}"] if warning else []
    return rows, notes


def in_torch(restorer: Restorer) -> Compute:
    """Returns the network as newtest.py computes it, without the conversion from and to uint8."""
    layout = memory_format(restorer.device)

    def compute(faces):
        with torch.inference_mode():
            low = torch.from_numpy(faces).contiguous(memory_format=layout)
            return restorer.recipe.restore(low).contiguous().numpy()
    return compute


def in_ais_bench(path: Path) -> Compute:
    """Returns an .om model of batch 1 on Ascend."""
    from ais_bench.infer.interface import InferSession
    session = InferSession(0, os.fspath(path))
    return lambda faces: np.concatenate([np.asarray(session.infer([face[None]])[0]) for face in faces])


def accuracy(compute: Compute, faces: Faces, protocols: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Returns {protocol: (mean PSNR, mean SSIM)} over all faces."""
    scores: dict[str, list] = {protocol: [] for protocol in protocols}
    for start in range(0, len(faces), ACCURACY_BATCH):
        places = range(start, min(start + ACCURACY_BATCH, len(faces)))
        restored = np.ascontiguousarray(compute(np.concatenate([faces[i] for i in places])), np.float32)
        for face, place in zip(torch.from_numpy(restored), places, strict=True):
            for protocol in protocols:
                scores[protocol].append(score(face, faces.reference(place), protocol))
    return {protocol: tuple(mean_score(of_faces)) for protocol, of_faces in scores.items()}


def milliseconds(jobs: Sequence[Compute], faces: np.ndarray, rounds: int) -> list[list[float]]:
    """Returns per job the milliseconds per face of each round; the jobs alternate.

    It is the process's time, of one thread: other programs on the machine do not count.
    """
    found: list[list[float]] = [[] for _ in jobs]
    for job in jobs:
        job(faces)
    for _ in range(rounds):
        for times, job in zip(found, jobs, strict=True):
            start = time.process_time()
            job(faces)
            times.append((time.process_time() - start) * 1000 / len(faces))
    return found


def peak_memory(candidate: Candidate, batch: int, size: int) -> float | None:
    """Returns the peak memory in MB of a new process that restores with the file; None where it cannot be measured."""
    if candidate.runtime not in ("torch", "onnx", "openvino") or not sys.platform.startswith("linux"):
        return None
    done = subprocess.run([sys.executable, "-m", "deploy.peak_memory", str(candidate.file.resolve()),
                           candidate.runtime, str(batch), str(size)], cwd=ROOT, capture_output=True, text=True)
    return float(done.stdout) if done.returncode == 0 else None


def evaluate(weights: Path, restorer: Restorer, files: Iterable[Path], faces: Faces, batch: int = 4,
             rounds: int = 15) -> dict[str, Any]:
    """Returns the table as {"rows": [...], "notes": [...], ...}; every row is compared with the first: torch, float32.

    faces: with references. batch: the second batch size of the timing. Computes in one thread.
    """
    size = faces[0].shape[-1]
    protocols = [protocol.name for protocol in usual_protocols(size)]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rows, notes = candidates(weights, restorer, files)
        timed = [row for row in rows if row.timed]
        times = {}
        for count in (1, batch):
            inputs = np.concatenate([faces[place % len(faces)] for place in range(count)])
            times[count] = dict(zip(timed, milliseconds([row.compute for row in timed], inputs, rounds), strict=True))
        table = [_row(row, accuracy(row.compute, faces, protocols), {n: t.get(row) for n, t in times.items()},
                      {n: t[rows[0]] for n, t in times.items()}, size) for row in rows]
    finally:
        torch.set_num_threads(threads)
    for row in table:
        for protocol, values in row["scores"].items():
            values["loss"] = table[0]["scores"][protocol]["psnr"] - values["psnr"]
    return {"faces": len(faces), "processor": str(processor()), "threads": 1, "commit": commit(),
            "torch": torch.__version__, "batch": batch, "rounds": rounds, "rows": table, "notes": notes}


def _row(candidate, scores, times, of_torch, size):
    found = {"file": candidate.file.name, "runtime": NAMES[candidate.runtime], "precision": candidate.precision,
             "how": candidate.how, "bytes": candidate.file.stat().st_size,
             "scores": {name: {"psnr": psnr, "ssim": ssim} for name, (psnr, ssim) in scores.items()}}
    for batch, values in times.items():
        if values:
            found[f"batch {batch}"] = {
                "median_ms": statistics.median(values), "p95_ms": float(np.percentile(values, 95)),
                "times_torch": statistics.median(a / b for a, b in zip(of_torch[batch], values, strict=True)),
                "peak_mb": peak_memory(candidate, batch, size)}
    return found


def markdown(table: Mapping[str, Any]) -> str:
    """Returns the table as Markdown, with its notes."""
    protocols = list(table["rows"][0]["scores"])
    batches = [f"batch {count}" for count in dict.fromkeys((1, table["batch"]))]
    head = ["file", "runtime", "precision", *(f"{name} PSNR / SSIM (loss in dB)" for name in protocols),
            *(f"ms per face, {name}: median (p95), against torch, peak MB" for name in batches), "MB on disk"]
    lines = [head, ["---"] * len(head)]
    for row in table["rows"]:
        precision = row["precision"] + (", emulated" if row["how"] == "emulated" else "")
        cells = [f"{decibels(s['psnr'])} / {s['ssim']:.4f} ({s['loss']:+.4f})" for s in row["scores"].values()]
        for name in batches:
            speed = row.get(name)
            memory = f", {speed['peak_mb']:.0f}" if speed and speed["peak_mb"] else ""
            cells.append(f"{speed['median_ms']:.1f} ({speed['p95_ms']:.1f}), {speed['times_torch']:.2f}x{memory}"
                         if speed else "")
        lines.append([row["file"], row["runtime"], precision, *cells, f"{row['bytes'] / 1e6:.2f}"])
    text = "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
    foot = (f"\n{table['faces']} faces; {table['processor']}, {table['threads']} thread, process time, medians of "
            f"{table['rounds']} alternating rounds; torch {table['torch']}, commit {table['commit']}.\n")
    return text + foot + "".join(f"\n{note}\n" for note in table["notes"])


def write_table(table: Mapping[str, Any], folder: Path, command: str) -> None:
    """Writes evaluation.json and evaluation.md into `folder` and prints the table."""
    write_file(folder / "evaluation.json", strict_json.dumps({**table, "command": command}, indent=1) + "\n")
    write_file(folder / "evaluation.md", markdown(table))
    print(markdown(table), flush=True)
