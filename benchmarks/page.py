# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Whether the page answers every request, how fast, and whether its memory stays flat (Linux: /proc).

    python -m benchmarks.page [--requests 200] [--clients 8] [--device auto] [--json FILE]

Starts `python -m restore.page` with the shipped weights as a process of its own, and posts the two example photos
(tools/photo_example.py) in turn to POST /restore, from several clients at the same time, in rounds. One row per round.
wrong: answers other than 200, or that differ from the first answer for the same photo. The memory is that of the
server at the end of the round: it keeps 20 restored photos (--keep 20), and grows until these are there.
"""
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from benchmarks.measuring import ROOT, machine, show
from tools.photo_example import write_photos
from utils.device import pick_device
from utils.errors import UserError, run_main
from utils.option_types import at_least, file_path, tool_parser

ROUNDS = 5
KEPT = 20
ADDRESS = "The page is at "


def resident_mb(process):
    """Returns the process's resident memory in MB."""
    return int(Path(f"/proc/{process.pid}/statm").read_text(encoding="ascii").split()[1]) * 4096 / 1e6


def post(client, address, path):
    """Returns (status, content, seconds) of one request."""
    began = time.perf_counter()
    answer = client.post(f"{address}restore", files={"photo": (path.name, path.read_bytes())})
    return answer.status_code, answer.content, time.perf_counter() - began


def measure(process, address, photos, requests, clients):
    """Returns one row per round; each round has requests / ROUNDS requests."""
    rows, first = [], {}
    with httpx.Client(timeout=600, limits=httpx.Limits(max_connections=clients)) as client, \
            ThreadPoolExecutor(clients) as pool:
        for number in range(1, ROUNDS + 1):
            began = time.perf_counter()
            paths = [photos[i % len(photos)] for i in range(requests // ROUNDS)]
            answers = list(pool.map(lambda path: post(client, address, path), paths))
            seconds = time.perf_counter() - began
            wrong = sum(status != 200 or content != first.setdefault(path, content)
                        for path, (status, content, _) in zip(paths, answers, strict=True))
            waits = sorted(wait for _, _, wait in answers)
            rows.append({"round": number, "requests": len(answers), "clients": clients, "wrong": wrong,
                         "photos/s": len(answers) / seconds, "median wait s": waits[len(waits) // 2],
                         "longest wait s": waits[-1], "resident MB": resident_mb(process)})
    return rows


def main():
    parser = tool_parser(__doc__)
    parser.add_argument("--requests", type=at_least(ROUNDS), default=200, help="requests; default: %(default)s")
    parser.add_argument("--clients", type=at_least(1, largest=30), default=8,
                        help="requests at the same time; default: %(default)s")
    parser.add_argument("--device", default="auto", help="as of restore.page; default: %(default)s")
    parser.add_argument("--json", type=file_path, default=None, help="JSON file to write; default: none")
    a = parser.parse_args()
    command = [sys.executable, "-m", "restore.page", "--port", "0", "--device", a.device, "--keep", str(KEPT)]
    with tempfile.TemporaryDirectory() as folder, \
            subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            write_photos(Path(folder))
            line = process.stdout.readline()
            if not line.startswith(ADDRESS):
                raise UserError("the page did not start: its message is above.", status=1)
            rows = measure(process, line.removeprefix(ADDRESS).strip(), sorted(Path(folder).iterdir()), a.requests,
                           a.clients)
        finally:
            process.terminate()
    for row in rows:
        row["machine"] = machine(pick_device(a.device))
    show("Requests to the page", rows, a.json)


if __name__ == "__main__":
    run_main(main)
