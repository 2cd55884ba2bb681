"""Whether memory and open files stay flat over a long training or a long restoration.

    python -m benchmarks.flat_memory --steps 5000 --faces 3000

Trains a tiny network, then restores faces with it, each in a process of its own, and reads the main process's resident
memory and open files once per second (Linux: /proc). Prints one line per tenth of the time. A leak grows with the
number of steps or faces, also with MALLOC_ARENA_MAX=1, which keeps the allocator from spreading over arenas. Scores
take a few kilobytes per face: newtest.py keeps them for its tables.
"""
import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from data.drawn.builtin_faces import write_faces
from utils.errors import UserError, run_main

TINY = ["--load_size", "32", "--min_ch", "4", "--max_ch", "8", "--hourglass_ch", "4", "--res_depth", "0",
        "--bottleneck_size", "16", "--batch_size", "2", "--device", "cpu", "--workers", "1"]


def watch(command):
    """Runs a command; returns [(seconds, resident MB, open files)], one per second."""
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL)
    place, began, seen = Path(f"/proc/{process.pid}"), time.monotonic(), []
    try:
        while process.poll() is None:
            try:
                pages = int((place / "statm").read_text().split()[1])
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


def report(title, seen):
    print(title)
    for tenth in range(10):
        seconds, memory, files = seen[(len(seen) - 1) * (tenth + 1) // 10]
        print(f"  {seconds:7.0f} s  {memory:7.1f} MB  {files:4d} open files", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000, help="steps of the training; default: %(default)s")
    parser.add_argument("--faces", type=int, default=1500, help="faces to restore; default: %(default)s")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        faces = Path(folder) / "faces"
        write_faces(faces, 8, 0, 32)
        training = ["newtrain.py", *TINY, "--dataroot", f"{faces}/images", "--checkpoints_dir", folder, "--name", "run"]
        report(f"Training, {options.steps} steps",
               watch([*training, "--train_steps", str(options.steps), "--print_freq", "100"]))
        many = Path(folder) / "many"
        many.mkdir()
        drawn = sorted((faces / "images").iterdir())
        for number in range(options.faces):
            (many / f"{number:06d}.png").hardlink_to(drawn[number % len(drawn)])
        report(f"Restoring and scoring {options.faces} faces",
               watch(["newtest.py", "--pth_path", f"{folder}/run/latest_net_G.pth", "--gtroot", str(many), "--device",
                      "cpu", "--workers", "1", "--batch_size", "2", "--results_dir", folder, "--name", "out"]))


if __name__ == "__main__":
    run_main(main)
