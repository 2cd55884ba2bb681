# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Whether memory and open files stay flat over a long training or a long restoration.

    python -m benchmarks.flat_memory [--steps 5000] [--faces 5000] [--json FILE]

Trains a tiny network, then restores faces with it, each in a process of its own, and reads the main process's resident
memory and open files once per second (Linux: /proc). One row per tenth of the time. A leak grows with the
number of steps or faces, also with MALLOC_ARENA_MAX=1, which keeps the allocator from spreading over arenas. Scores
take a few kilobytes per face: newtest.py keeps them for its tables.
"""
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measuring import show
from data.drawn.builtin_faces import write_faces
from utils.errors import UserError, run_main
from utils.option_types import at_least, file_path, tool_parser

TINY = ["--load_size", "32", "--min_ch", "4", "--max_ch", "8", "--hourglass_ch", "4", "--res_depth", "0",
        "--bottleneck_size", "16", "--batch_size", "2", "--device", "cpu", "--workers", "1"]


def watch(command):
    """Runs a command; returns [(seconds, resident MB, open files)], one per second."""
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL)
    place, began, seen = Path(f"/proc/{process.pid}"), time.monotonic(), []
    try:
        while process.poll() is None:
            try:
                pages = int((place / "statm").read_text(encoding="ascii").split()[1])
                seen.append((time.monotonic() - began, pages * 4096 / 1e6, len(list((place / "fd").iterdir()))))
            except (OSError, IndexError):  # it has just ended
                break
            time.sleep(1)
        process.wait()
    finally:
        process.kill()  # if this program is stopped
    if process.returncode:
        raise UserError(f"{' '.join(command)} ended with exit status {process.returncode}.", status=1)
    return seen


def tenths(title, seen):
    """Returns the table's rows: what was seen after each tenth of the time."""
    return [{"work": title, "seconds": round(seconds), "resident MB": memory, "open files": files}
            for seconds, memory, files in (seen[(len(seen) - 1) * tenth // 10] for tenth in range(1, 11))]


def main():
    parser = tool_parser(__doc__)
    parser.add_argument("--steps", type=at_least(1), default=5000, help="steps of the training; default: %(default)s")
    parser.add_argument("--faces", type=at_least(1), default=5000, help="faces to restore; default: %(default)s")
    parser.add_argument("--json", type=file_path, default=None, help="JSON file to write; default: none")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        faces = Path(folder) / "faces"
        write_faces(faces, 8, 0, 32)
        training = ["newtrain.py", *TINY, "--dataroot", f"{faces}/images", "--checkpoints_dir", folder, "--name", "run"]
        rows = tenths(f"training, {options.steps} steps",
                      watch([*training, "--train_steps", str(options.steps), "--print_freq", "100"]))
        many = Path(folder) / "many"
        many.mkdir()
        drawn = sorted((faces / "images").iterdir())
        for number in range(options.faces):
            (many / f"{number:06d}.png").hardlink_to(drawn[number % len(drawn)])
        rows += tenths(f"restoring and scoring {options.faces} faces",
                       watch(["newtest.py", "--pth_path", f"{folder}/run/latest_net_G.pth", "--gtroot", str(many),
                              "--device", "cpu", "--workers", "1", "--batch_size", "2", "--results_dir", folder,
                              "--name", "out"]))
    show("Memory and open files of the main process", rows, options.json)


if __name__ == "__main__":
    run_main(main)
