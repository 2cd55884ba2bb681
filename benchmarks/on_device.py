# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Measures a device that is available for minutes only, the most important parts first.

    python -m benchmarks.on_device --minutes 9 --json OUT.json [--device auto] [--parts step gpen ...]

step        SPARNet's training step, O0 and O2, against the plain float32 loop (goal on a GPU: 4 times)
sparnethd   SPARNetHD's step, 2 faces of 512 pixels, and its peak memory (goal: below 12 GB)
restoring   GPEN-512 restores 8 faces in half precision (goal: 300 faces/s)
gpen        GPEN-256's step in O2 against the plain float32 loop (goal: 2.5 times)
graphs      torch.compile and CUDA graphs: what they gain, and what their start costs
ceilings    a step's share of the matrix rate, the copy rate, and where its time goes
precision   losses and PSNR after the same steps in O0 and in O2
ranks       one training step on all cards of this machine against one card
resume      whether a run that was stopped ends bit for bit like one that was not

Each part runs in a process of its own, so that its peak memory is its own and a failure costs one part only. Its rows
are printed and written to --json as soon as it ends. A part that exceeds the time is stopped. A part that failed has a
row with the reason. Exit status 1 if a part failed. --toy takes tiny networks and few steps, so that all parts can be
tried without an accelerator.
"""
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import utils.device
from benchmarks import device_parts
from benchmarks.measuring import ROOT, machine, show
from utils.errors import run_main
from utils.files import write_file
from utils.option_types import at_least, file_path, tool_parser
from utils.strict_json import dumps
from utils.version import commit

SHORTEST = 20  # seconds: with less time left, no part begins


def measure(part, options, seconds):
    """Runs a part in a process of its own for at most `seconds`; returns its record, with `failed` if it has none."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "rows.json"
        command = [sys.executable, "-m", "benchmarks.on_device", "--only", part, "--device", options.device, "--json",
                   str(result), *["--toy"] * options.toy]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                              errors="replace", start_new_session=True) as process:
            try:
                _, errors = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                return {"failed": f"not done after {seconds:.0f} s"}
            finally:
                with contextlib.suppress(ProcessLookupError):  # its trainings, too: they would go on using the device
                    os.killpg(process.pid, signal.SIGKILL)
        if process.returncode or not result.exists():
            return {"failed": (errors.strip().splitlines() or [f"exit status {process.returncode}"])[-1][:300]}
        return json.loads(result.read_text(encoding="utf-8"))


def main():
    parser = tool_parser(__doc__)
    parser.add_argument("--minutes", type=at_least(0.1, float), default=9, help="time for all; default: %(default)s")
    parser.add_argument("--device", default="auto", help="device: auto, npu, cuda or cpu; default: %(default)s")
    parser.add_argument("--parts", nargs="+", choices=list(device_parts.PARTS), default=list(device_parts.PARTS),
                        help="what to measure; default: all")
    parser.add_argument("--toy", action="store_true", help="tiny networks and few steps: tries the benchmark itself")
    parser.add_argument("--only", choices=list(device_parts.PARTS), default=None,
                        help="measure this part in this process, without a limit; default: none")
    parser.add_argument("--json", type=file_path, default=None, help="JSON file to write; default: none")
    options = parser.parse_args()
    began = time.monotonic()
    device = utils.device.pick_device(options.device)
    if options.only:
        utils.device.set_up(device)
        rows = device_parts.PARTS[options.only](device, options.toy)
        show(options.only, rows, options.json)
        return 0
    record = {"title": f"On {machine(device)}" + " (toy sizes)" * options.toy, "minutes": options.minutes,
              "command": f"python -m benchmarks.on_device --minutes {options.minutes:g}", "commit": commit(),
              "date": time.strftime("%Y-%m-%d"), "parts": {}}
    for part in options.parts:
        left = 60 * options.minutes - (time.monotonic() - began)
        found = {"failed": "no time was left"} if left < SHORTEST else measure(part, options, left)
        record["parts"][part] = found.get("rows") or [found]
        print(f"{part}, {time.monotonic() - began:.0f} s after the start:", flush=True)
        for row in record["parts"][part]:
            print("   " + "  ".join(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
                                    for name, value in row.items()), flush=True)
        if options.json:
            write_file(options.json, dumps(record, indent=1) + "\n")
    return 1 if any("failed" in row for rows in record["parts"].values() for row in rows) else 0


if __name__ == "__main__":
    run_main(main)
