# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Weights that ship with the project: pretrained/NAME/generator.safetensors, each with its checksum."""
import hashlib
from pathlib import Path

from utils.errors import UserError, nearest
from utils.files import write_file

FOLDER = Path(__file__).resolve().parents[1] / "pretrained"
SUMS = FOLDER / "SHA256SUMS"  # in the format of `sha256sum --check`
WEIGHTS = "generator.safetensors"


def pretrained_names():
    return sorted(path.parent.name for path in FOLDER.glob(f"*/{WEIGHTS}"))


def find_pretrained(name, given_as=None):
    """Returns the path of the weights called `name`. Raises UserError if they are missing or their checksum differs.

    given_as: how the error message refers to them; default: newtest.py's `--pretrained NAME`.
    """
    given_as = given_as or f"--pretrained {name}"
    if name not in pretrained_names():
        raise UserError(f"{given_as}: there are no such weights; there are {', '.join(pretrained_names())}."
                        + nearest(name, pretrained_names()))
    path = FOLDER / name / WEIGHTS
    if path not in read_checksums():
        raise UserError(f"{given_as}: {SUMS} holds no checksum of {path}. Restore it (git checkout).")
    try:
        check_known_file(path)
    except UserError as error:
        raise UserError(f"{given_as}: {error}") from None
    return path


def check_known_file(path):
    """Raises UserError if `path` is one of the files in SHA256SUMS and its checksum differs."""
    known = read_checksums().get(Path(path).resolve())
    if known and known != sha256(path):
        raise UserError(f"the checksum of {path} is not the one in {SUMS}: the file is damaged or was changed. "
                        f"Restore it (git checkout), or use it under another path.")


def sha256(path):
    """Returns the SHA-256 digest of the file at `path`, in hexadecimal."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def read_checksums():
    """Returns {path: digest} from SHA256SUMS."""
    lines = SUMS.read_text(encoding="utf-8").splitlines() if SUMS.exists() else []
    return {FOLDER / name.strip(): digest for digest, name in (line.split(None, 1) for line in lines)}


def record_checksum(path):
    """Writes the digest of `path`, a file below pretrained/, to SHA256SUMS and returns it."""
    sums = read_checksums() | {Path(path): sha256(path)}
    write_file(SUMS, "".join(f"{digest}  {p.relative_to(FOLDER)}\n" for p, digest in sorted(sums.items())))
    return sums[Path(path)]
