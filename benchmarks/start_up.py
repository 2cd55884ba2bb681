# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""From the start of a program to its first training step, and to its help text.

    python -m benchmarks.start_up [--preset sparnet_light_attn3d] [--rounds 5] [--json FILE]

newtrain.py: until it logs its first step, on drawn faces. plain: a program that imports torch, numpy and Pillow, builds
the same network in the plain form, reads one batch and takes one step; it checks, writes and records nothing. The two
alternate. `--help`: the whole program.
"""
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measuring import ROOT, machine, show
from data.drawn.builtin_faces import write_faces
from utils.device import pick_device
from utils.errors import UserError, run_main
from utils.option_types import at_least, file_path, text, tool_parser

BATCH = 8
PLAIN = """
import sys
import numpy, torch
from pathlib import Path
from PIL import Image
from models import create_network
from benchmarks.plain_forms import plain_form
net = plain_form(create_network(sys.argv[2]))
optimizer = torch.optim.Adam(net.parameters())
faces = [Image.open(path).convert("RGB").resize((128, 128), Image.BICUBIC)
         for path in sorted(Path(sys.argv[1]).iterdir())[:{batch}]]
low = [face.resize((16, 16), Image.BICUBIC).resize((128, 128), Image.BICUBIC) for face in faces]
hr, lr = (torch.from_numpy(numpy.stack([numpy.asarray(face) for face in images])).permute(0, 3, 1, 2) / 127.5 - 1
          for images in (faces, low))
torch.nn.functional.l1_loss(net(lr), hr).backward()
optimizer.step()
print("Iter: [1", flush=True)
""".replace("{batch}", str(BATCH))


def until_first_step(command):
    """Returns the seconds from the start of the program to its line on step 1; the program is then ended."""
    start = time.perf_counter()
    with subprocess.Popen([sys.executable, *map(str, command)], cwd=ROOT, stdout=subprocess.PIPE, text=True) as program:
        for line in program.stdout:
            if "Iter: [1" in line:
                seconds = time.perf_counter() - start
                program.kill()
                return seconds
    raise UserError(f"{command[0]} ended without a step.")


def main():
    parser = tool_parser(__doc__)
    parser.add_argument("--preset", type=text, default="sparnet_light_attn3d", help="preset; default: %(default)s")
    parser.add_argument("--rounds", type=at_least(1), default=5, help="alternating rounds; default: %(default)s")
    parser.add_argument("--json", type=file_path, default=None, help="JSON file to write; default: none")
    a = parser.parse_args()
    seconds = {"newtrain.py": [], "plain": [], "--help": []}
    with tempfile.TemporaryDirectory() as folder:
        write_faces(Path(folder) / "drawn", 40, 0, 128)
        faces = Path(folder) / "drawn" / "images"
        for number in range(a.rounds):
            seconds["newtrain.py"].append(until_first_step(
                ["newtrain.py", "--preset", a.preset, "--dataroot", faces, "--batch_size", BATCH, "--print_freq", 1,
                 "--train_steps", 2, "--checkpoints_dir", folder, "--name", f"run{number}", "--device", "cpu"]))
            seconds["plain"].append(until_first_step(["-c", PLAIN, faces, a.preset]))
            start = time.perf_counter()
            subprocess.run([sys.executable, "newtrain.py", "--help"], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
            seconds["--help"].append(time.perf_counter() - start)
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    show("Start of newtrain.py, seconds", [{
        "preset": a.preset, "batch": BATCH, **middle,
        "plain / newtrain.py": statistics.median(
            p / n for p, n in zip(seconds["plain"], seconds["newtrain.py"], strict=True)),
        "machine": machine(pick_device("cpu"))}], a.json)


if __name__ == "__main__":
    run_main(main)
