"""Train in instalments on a machine that is lent for minutes: one call is one stretch of one training.

    python -m tools.timed_training --faces train.zip --val val.zip --work work --out out --minutes 9 \\
        -- --preset sparnet_light_attn3d --name light --total_epochs 60
    python -m tools.timed_training (the same again)              # goes on, exactly, while `work` is still there
    python -m tools.timed_training (the same) --resume_from out  # goes on on another machine

Unpacks the faces (tools/pack_faces.py) into --work, runs newtrain.py there in O2 with everything behind `--` and
--max_minutes, and leaves in --out, in files of at most --part_mb, what is to travel back: log, metrics.jsonl,
pictures, the best (before the first validation: the latest) weights as float16 safetensors, and the complete
checkpoint, from which the next call goes on as if nothing had happened. A checkpoint larger than --back_mb stays in
--work, which is said aloud.
Exit status: that of newtrain.py; 0 also when the minutes were over before the training was.
"""
import argparse
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from engine.checkpoint import list_states
from options.base_options import peek
from tools.export_weights import export
from utils.errors import UserError, run_main
from utils.files import replacing

ROOT = Path(__file__).parents[1]
LETTERS = ("train.log", "metrics.jsonl", "options.yml", "curves.png", "samples.png")  # small files of a run


def unpack(archive, folder):
    """The faces of a zip file, below `folder`; what was unpacked whole before is left as it is."""
    folder, unfinished = Path(folder), Path(f"{folder}.part")
    if folder.exists():
        return folder
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as faces:
            faces.extractall(unfinished)  # takes '..' and absolute names for names inside the folder
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{archive}: cannot be unpacked into {folder}: {error}") from None
    unfinished.rename(folder)
    return folder


def split(path, folder, part_bytes):
    """Copy the file `path` into `folder` as NAME, or as NAME.part00, NAME.part01... of at most `part_bytes`."""
    with open(path, "rb") as source:
        parts = -(-path.stat().st_size // part_bytes)
        for i in range(parts):
            name = path.name if parts == 1 else f"{path.name}.part{i:02d}"
            (Path(folder) / name).write_bytes(source.read(part_bytes))


def join(folder, run):
    """Put the checkpoint that an earlier call left in `folder`, whole or in parts, into the run's folder."""
    folder = Path(folder)
    parts = sorted(folder.glob("state_*.pth*"))
    if not parts:
        raise UserError(f"--resume_from {folder}: no checkpoint (state_*.pth, or its parts) there.")
    run.mkdir(parents=True, exist_ok=True)
    name = parts[0].name.split(".part")[0]
    with replacing(run / name) as whole:
        for part in parts:
            whole.write(part.read_bytes())
    if (folder / "metrics.jsonl").exists():
        shutil.copy(folder / "metrics.jsonl", run)


def bring_back(run, out, part_mb, back_mb):
    """Fill `out` from the run's folder, the most important first, as long as --back_mb is not exceeded."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    part_bytes, left = int(part_mb * 2 ** 20), back_mb * 2 ** 20
    best = run / ("best_net_G.pth" if (run / "best_net_G.pth").exists() else "latest_net_G.pth")  # not validated yet
    weights = best.with_suffix(".safetensors")
    export(best, weights)
    for path in [*(run / name for name in LETTERS), weights, *list_states(run)[-1:]]:
        if not path.exists():
            continue
        size = path.stat().st_size
        if size > left:
            print(f"{path} ({size / 2 ** 20:.1f} MiB) does not fit into --back_mb {back_mb:g} and stays there: only "
                  f"on this machine can the next call use it.")
            continue
        left -= size
        split(path, out, part_bytes)


def main():
    own = sys.argv[1:sys.argv.index("--")] if "--" in sys.argv else sys.argv[1:]
    words = sys.argv[len(own) + 2:]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", required=True, help="zip file of faces to train on")
    parser.add_argument("--val", required=True, help="zip file of faces to validate on")
    parser.add_argument("--work", required=True, type=Path, help="folder for faces and the run; kept between calls")
    parser.add_argument("--out", required=True, type=Path, help="folder for what travels back; emptied first")
    parser.add_argument("--minutes", required=True, type=float, help="of training in this call")
    parser.add_argument("--resume_from", default=None, type=Path, help="an earlier call's --out, brought here")
    parser.add_argument("--part_mb", type=float, default=15, help="largest file that travels back, in MiB")
    parser.add_argument("--back_mb", type=float, default=60, help="most that travels back, in MiB")
    a = parser.parse_args(own)
    name = peek(words, "name")
    if not name:
        raise UserError("give the run a --name NAME behind the `--`.")
    run = a.work / name
    faces, val = unpack(a.faces, a.work / "train"), unpack(a.val, a.work / "val")
    if a.resume_from and not list_states(run):
        join(a.resume_from, run)
    going_on = ["--continue_train"] if list_states(run) else []
    done = subprocess.run([
        sys.executable, str(ROOT / "newtrain.py"), "--opt_level", "O2", *words, "--dataroot", str(faces), "--valroot",
        str(val), "--checkpoints_dir", str(a.work), "--max_minutes", str(a.minutes), *going_on])
    if list_states(run):
        bring_back(run, a.out, a.part_mb, a.back_mb)
    return done.returncode


if __name__ == "__main__":
    run_main(main)
