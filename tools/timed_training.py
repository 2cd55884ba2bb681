# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Trains in several calls of limited duration, on a machine that is available for minutes at a time.

    python -m tools.timed_training --faces train.zip --val val.zip --work work --out out --minutes 9 \\
        -- --preset sparnet_light_attn3d --name light --total_epochs 60
    python -m tools.timed_training (the same again)              # continues exactly, if `work` still exists
    python -m tools.timed_training (the same) --resume_from out  # continues on another machine

Unpacks the faces (tools/pack_faces.py) into --work, again if the zip file has changed. Runs newtrain.py with the
options after `--`, --opt_level auto and --max_minutes. Writes the results to --out, in files of at most --part_mb: log,
metrics.jsonl, images, the best weights (before the first validation: the latest) as float16 safetensors, and the
complete checkpoint, from which the next call continues exactly. If the checkpoint exceeds --back_mb it stays in --work,
and a message says so.
Exit status: that of newtrain.py; also 0 if the minutes ended before the training did.
"""
import os
import shutil
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

from engine.checkpoint import list_states
from engine.run_folder import check_name
from options.base_options import peek
from options.train_options import parse_train
from tools.export_weights import export
from utils.errors import UserError, first_line, run_main, shown
from utils.files import check_regular_file, replacing
from utils.folder_lock import new_folder_beside
from utils.links import leads_into
from utils.option_types import at_least, file_path, tool_parser

ROOT = Path(__file__).parents[1]
SMALL_FILES = ("train.log", "metrics.jsonl", "options.yml", "curves.png", "samples.png")  # of a run's folder
WEIGHTS_AND_STATES = ("best_net_G.safetensors", "latest_net_G.safetensors", "state_*.pth")


def unpack(archive, folder):
    """Unpacks a zip file of faces into `folder`, unless that holds just these faces, and returns the folder.

    Anything else in the folder's place is moved aside: faces of another archive, or files that are not this tool's.
    """
    folder, unfinished = Path(folder), Path(f"{folder}.part")
    try:
        with zipfile.ZipFile(archive) as faces:
            if contents(folder) == packed_contents(faces):
                return folder
            shutil.rmtree(unfinished, ignore_errors=True)
            faces.extractall(unfinished)  # extracts names with '..' and absolute names inside the folder, too
    except Exception as error:  # a corrupted archive may raise almost anything: zlib.error, NotImplementedError
        raise UserError(f"{archive}: cannot be unpacked into {folder}: {first_line(error)}") from None
    if os.path.lexists(folder):
        aside = new_folder_beside(folder)
        aside.rmdir()  # the name may now go to a file or a link, too
        folder.rename(aside)
        print(f"{folder} does not hold the faces of {archive}: moved to {aside}.", flush=True)
    unfinished.rename(folder)
    return folder


def contents(folder):
    """Returns the sorted [(name, bytes, CRC)] of all files below `folder`, without hidden ones."""
    files = (path for path in folder.rglob("[!.]*") if path.is_file())
    return sorted((path.name, len(content), zlib.crc32(content)) for path in files for content in [path.read_bytes()])


def packed_contents(archive):
    """Returns what `contents` returns once the zipfile.ZipFile is unpacked."""
    entries = ((os.path.basename(info.filename), info.file_size, info.CRC) for info in archive.infolist())
    return sorted(entry for entry in entries if entry[0] and not entry[0].startswith("."))  # a folder's name is ""


def split(path, folder, part_bytes):
    """Copies the file `path` into `folder` as NAME, or in parts of at most `part_bytes`: NAME.part00, NAME.part01..."""
    with open(path, "rb") as source:
        parts = -(-path.stat().st_size // part_bytes)
        for i in range(parts):
            name = path.name if parts == 1 else f"{path.name}.part{i:02d}"
            (Path(folder) / name).write_bytes(source.read(part_bytes))


def parts_of_checkpoint(folder):
    """Returns the files of the checkpoint that an earlier call left in `folder`. Raises UserError if there are none."""
    parts = sorted(folder.glob("state_*.pth*"))
    if not parts:
        raise UserError(f"--resume_from {folder}: the folder has no checkpoint (state_*.pth, or its parts).")
    return parts


def join(parts, run):
    """Copies an earlier call's checkpoint, whole or in parts, and its log into the run's folder."""
    run.mkdir(parents=True, exist_ok=True)
    folder, name = parts[0].parent, parts[0].name.split(".part")[0]
    with replacing(run / name) as whole:
        for part in parts:
            whole.write(part.read_bytes())
    if (folder / "metrics.jsonl").exists():
        shutil.copy(folder / "metrics.jsonl", run)


def is_result(path):
    """Returns whether `path` is a file that bring_back writes: only these are replaced."""
    name = path.name.split(".part")[0]
    return path.is_file() and (name in SMALL_FILES or any(map(Path(name).match, WEIGHTS_AND_STATES)))


def check_out(out, used):
    """Raises UserError if --out lies in one of the folders `used`, or holds anything but results of earlier calls."""
    for folder in used:
        if leads_into(out, os.path.realpath(folder)):
            raise UserError(f"--out {out} lies in {folder}, which the training uses: choose another folder.")
    try:
        others = [path.name for path in out.iterdir() if not is_result(path)] if out.exists() else []
    except OSError as error:
        raise UserError(f"--out {out}: cannot be read: {error.strerror}.") from None
    if others:
        raise UserError(f"--out {out}: it holds {shown(others[0])}, which is no result of this tool: choose an empty "
                        f"or a new folder.")


def bring_back(run, out, part_mb, back_mb):
    """Replaces earlier results in `out` by files of the run, the checkpoint last, up to `back_mb` in total."""
    out.mkdir(parents=True, exist_ok=True)
    for path in out.iterdir():
        if is_result(path):
            path.unlink()
    part_bytes, left = int(part_mb * 2 ** 20), back_mb * 2 ** 20
    best = run / "best_net_G.pth"
    if not best.exists():  # no validation yet
        best = run / "latest_net_G.pth"
    weights = best.with_suffix(".safetensors")
    export(best, weights)
    for path in [*(run / name for name in SMALL_FILES), weights, *list_states(run)[-1:]]:
        if not path.exists():
            continue
        size = path.stat().st_size
        if size > left:
            print(f"{path} ({size / 2 ** 20:.1f} MiB) does not fit into --back_mb {back_mb:g} and stays there: the "
                  f"next call can use it only on this machine.")
            continue
        left -= size
        split(path, out, part_bytes)


def main():
    own = sys.argv[1:sys.argv.index("--")] if "--" in sys.argv else sys.argv[1:]
    words = sys.argv[len(own) + 2:]
    parser = tool_parser(__doc__)
    parser.add_argument("--faces", required=True, help="zip file of training faces (required)")
    parser.add_argument("--val", required=True, help="zip file of validation faces (required)")
    parser.add_argument("--work", required=True, type=file_path,
                        help="folder for the unpacked faces and the run; keep it between calls (required)")
    parser.add_argument("--out", required=True, type=file_path,
                        help="output folder for the results; those of an earlier call are replaced, and a folder that "
                             "holds other files is refused (required)")
    parser.add_argument("--minutes", required=True, type=at_least(1e-3, float),
                        help="training time of this call, in minutes (required)")
    parser.add_argument("--resume_from", default=None, type=file_path,
                        help="copy of an earlier call's --out folder; its checkpoint is used if --work has none "
                             "(default: none)")
    parser.add_argument("--part_mb", type=at_least(1e-3, float), default=15,
                        help="largest size of a file in --out, in MiB; larger files are split (default: 15)")
    parser.add_argument("--back_mb", type=at_least(1e-3, float), default=60,
                        help="largest total size of the files in --out, in MiB (default: 60)")
    a = parser.parse_args(own)
    name = peek(words, "name")
    if not name:
        raise UserError("--name NAME is required: add it after the `--`.")
    check_name(name)
    faces, val, run = a.work / "train", a.work / "val", a.work / name
    if run in (faces, val):
        raise UserError(f"--name {name}: {run} is the folder of the faces: choose another name.")
    options = ["--opt_level", "auto", *words, "--dataroot", str(faces), "--valroot", str(val), "--checkpoints_dir",
               str(a.work), "--max_minutes", str(a.minutes)]
    parse_train(options)
    check_out(a.out, [run, faces, val])
    for archive in (a.faces, a.val):
        check_regular_file(archive)
    parts = parts_of_checkpoint(a.resume_from) if a.resume_from and not list_states(run) else None
    unpack(a.faces, faces)
    unpack(a.val, val)
    if parts:
        join(parts, run)
    resume = ["--continue_train"] if list_states(run) else []
    done = subprocess.run([sys.executable, str(ROOT / "newtrain.py"), *options, *resume])
    if list_states(run):
        bring_back(run, a.out, a.part_mb, a.back_mb)
    return done.returncode


if __name__ == "__main__":
    run_main(main)
