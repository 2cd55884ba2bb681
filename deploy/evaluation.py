# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""One table of deployed files: accuracy beside float32, time per face, memory and size, in each runtime.

    table = evaluate(weights, Restorer.load(weights), files, faces)
"""
from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from deploy.choices import OM
from deploy.faces import Faces
from deploy.int8 import runner, saturation_warning
from deploy.session import open_session
from metrics.protocols import usual_protocols
from metrics.psnr_ssim import decibels, mean_score, score
from restore.restorer import Restorer
from utils import strict_json
from utils.device import memory_format
from utils.errors import UserError, first_line
from utils.files import write_file
from utils.onnx_file import PACKAGES, OnnxNetwork, read_metadata
from utils.processor import processor
from utils.version import commit

ROOT = Path(__file__).parents[1]
ACCURACY_PIXELS = 8 * 128 ** 2  # of the batches whose accuracy is measured
NAMES = {"torch": "PyTorch", "onnx": "ONNX Runtime", "openvino": "OpenVINO", "om": "ais_bench"}
Compute = Callable[[np.ndarray], np.ndarray]  # float32 [N, 3, S, S] -> likewise


class Candidate(NamedTuple):
    """One row of the table. load: returns the function that restores a batch. timed: whether time and memory count."""
    file: Path
    runtime: str
    precision: str
    how: str  # "as deployed" or "emulated"
    load: Callable[[], Compute]
    timed: bool = True


def candidates(files: Iterable[Path]) -> tuple[list[Candidate], list[str]]:
    """Returns (the rows of .onnx and .om files, notes on them). Nothing is loaded yet.

    An int8 file is a row of the runtime that it was made for, and a row of its exact emulation.
    """
    rows, notes = [], []
    for path in files:
        if path.suffix == OM:
            rows.append(Candidate(path, "om", "as compiled", "as deployed", partial(in_ais_bench, path)))
            notes.append(f"{path.name}: wall-clock time; batches are computed face by face.")
            continue
        metadata = read_metadata(path)
        precision = metadata.get("precision", "fp32")
        runtimes = [name for name, package in PACKAGES.items() if metadata.get("made_for", package) == package]
        rows += [Candidate(path, runtime, precision, "as deployed", partial(OnnxNetwork, path, runtime, threads=1))
                 for runtime in runtimes]
        if precision == "int8":
            rows.append(Candidate(path, "onnx", precision, "emulated", partial(in_emulation, path), timed=False))
            warning = saturation_warning(int(metadata.get("weight_bits", 8)))
            notes += [f"{path.name}: {warning}"] if warning else []
    return rows, notes


def in_emulation(path: Path) -> Compute:
    """Returns an int8 model computed without the processor's int8 kernels."""
    return runner(open_session(path, emulated=True))


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
    count = max(1, ACCURACY_PIXELS // faces[0].shape[-1] ** 2)
    for start in range(0, len(faces), count):
        places = range(start, min(start + count, len(faces)))
        restored = np.ascontiguousarray(compute(np.concatenate([faces[i] for i in places])), np.float32)
        for face, place in zip(torch.from_numpy(restored), places, strict=True):
            for protocol in protocols:
                scores[protocol].append(score(face, faces.reference(place), protocol))
    return {protocol: tuple(mean_score(of_faces)) for protocol, of_faces in scores.items()}


def milliseconds(jobs: Sequence[Compute], faces: np.ndarray, rounds: int,
                 clock: Callable[[], float] = time.process_time) -> list[list[float]]:
    """Returns per job the milliseconds per face of each round; the jobs alternate.

    clock: by default the process's time, of one thread: other programs on the machine do not count.
    """
    found: list[list[float]] = [[] for _ in jobs]
    for job in jobs:
        job(faces)
    for _ in range(rounds):
        for times, job in zip(found, jobs, strict=True):
            start = clock()
            job(faces)
            times.append((clock() - start) * 1000 / len(faces))
    return found


def peak_memory(candidate: Candidate, batch: int, size: int) -> float | None:
    """Returns the peak memory in MB of a new process that restores with the file.

    None where it cannot be measured; a line says so if the process fails.
    """
    if candidate.runtime not in ("torch", "onnx", "openvino") or not sys.platform.startswith("linux"):
        return None
    done = subprocess.run([sys.executable, "-m", "deploy.peak_memory", str(candidate.file.resolve()),
                           candidate.runtime, str(batch), str(size)], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        print(f"note: {candidate.file.name} in {NAMES[candidate.runtime]}, batch {batch}: peak memory not measured: "
              f"{first_line(done.stderr.strip() or 'the process was killed')}", flush=True)
        return None
    return float(done.stdout)


def evaluate(weights: Path, restorer: Restorer, files: Iterable[Path], faces: Faces, batch: int = 4,
             rounds: int = 15) -> dict[str, Any]:
    """Returns the table as {"rows": [...], "notes": [...], "failed": [...], ...}; failed: why files have no row.

    Every row is compared with the first: torch, float32.

    faces: with references. batch: the second batch size of the timing. Computes in one thread. Each file is loaded for
    its own row only: several large networks at once would not fit into the memory.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        (rows, notes), failed = candidates(files), []
        in_float32 = in_torch(restorer)
        first = Candidate(weights, "torch", "fp32", "as deployed", lambda: in_float32)
        table = [_measured(first, in_float32, in_float32, faces, batch, rounds)]
        for row in rows:
            try:
                compute = row.load()
            except UserError as error:
                notes.append(f"{row.file.name}: absent in {NAMES[row.runtime]}: {error}")
                continue
            except Exception as error:  # ais_bench has exceptions of its own
                failed.append(f"{row.file.name}: {NAMES[row.runtime]} cannot load it: {first_line(error)}")
                continue
            try:
                table.append(_measured(row, _checked(compute), in_float32, faces, batch, rounds))
            except Exception as error:
                failed.append(f"{row.file.name}: not evaluated in {NAMES[row.runtime]}: {first_line(error)}")
            del compute  # before the next one is loaded
    finally:
        torch.set_num_threads(threads)
    for row in table:
        for protocol, values in row["scores"].items():
            values["loss"] = table[0]["scores"][protocol]["psnr"] - values["psnr"]
    return {"faces": len(faces), "processor": str(processor()), "threads": 1, "commit": commit(),
            "torch": torch.__version__, "batch": batch, "rounds": rounds, "rows": table, "notes": notes,
            "failed": failed}


def _checked(compute: Compute) -> Compute:
    """Returns `compute`, which raises UserError for an output that is no restored batch."""
    def checked(faces):
        found = np.asarray(compute(faces))
        if found.shape != faces.shape or found.dtype.kind != "f" or not np.isfinite(found).all():
            raise UserError(f"its output is {found.dtype} {list(found.shape)}; finite floats {list(faces.shape)} are "
                            f"needed")
        return found
    return checked


def _measured(candidate, compute, in_float32, faces, batch, rounds):
    """Returns the row of one candidate; in_float32: the network in torch, which alternates with it."""
    size = faces[0].shape[-1]
    scores = accuracy(compute, faces, [protocol.name for protocol in usual_protocols(size)])
    found = {"file": candidate.file.name, "runtime": NAMES[candidate.runtime], "precision": candidate.precision,
             "how": candidate.how, "bytes": candidate.file.stat().st_size,
             "scores": {name: {"psnr": psnr, "ssim": ssim} for name, (psnr, ssim) in scores.items()}}
    for count in (1, batch) if candidate.timed else ():
        inputs = np.concatenate([faces[place % len(faces)] for place in range(count)])
        clock = time.perf_counter if candidate.runtime == "om" else time.process_time  # an NPU's time is not the host's
        of_torch, own = milliseconds([in_float32, compute], inputs, rounds, clock)
        found[f"batch {count}"] = {
            "median_ms": statistics.median(own), "p95_ms": float(np.percentile(own, 95)),
            "times_torch": statistics.median(a / b for a, b in zip(of_torch, own, strict=True)),
            "peak_mb": peak_memory(candidate, count, size)}
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
    return text + foot + "".join(f"\n{note}\n" for note in (*table["notes"], *table["failed"]))


def write_table(table: Mapping[str, Any], folder: Path, command: str) -> None:
    """Writes evaluation.json and evaluation.md into `folder` and prints the table."""
    write_file(folder / "evaluation.json", strict_json.dumps({**table, "command": command}, indent=1) + "\n")
    write_file(folder / "evaluation.md", markdown(table))
    print(markdown(table), flush=True)
