# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""What newphoto.py does, to be read from top to bottom: PhotoRun.run."""
from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from restore.face_finder import ALL_ANGLES
from restore.photo import FoundFace, PhotoRestorer
from restore.photo_file import file_name, read_photo, write_photo
from restore.restorer import Restorer
from utils import distributed, strict_json
from utils.errors import UserError
from utils.files import WriteError, write_file
from utils.folder_lock import only_writer, require_folder
from utils.images import EXTENSIONS, BadImage, grid, list_images, save_image
from utils.links import leads_into
from utils.names import printable
from utils.pretrained import sha256
from utils.version import VERSION, command

READ = ("upscale", "paste", "fidelity", "faces", "angles", "min_face", "max_face")  # options that change the photos
ABOUT = "newphoto"  # folder in the output folder, apart from the photos' own names
REPORTS, FACES, SHEET = f"{ABOUT}/reports", f"{ABOUT}/faces", f"{ABOUT}/faces.png"
SHOWN = 24  # faces in the contact sheet


class PhotoRun:
    """One call of newphoto.py. `run()` restores all photos and returns the exit status. Ranks share the photos.

    Raises UserError for options, weights and folders that cannot be used.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = o = options
        self.folder = Path(o.output_path)
        self.root, names = self._find_photos()
        device = distributed.join_ranks(o)
        self.names = names[distributed.rank()::distributed.world_size()]
        restorers = {name: Restorer.load(path, device) for name, path in o.weights.items()}
        for name, restorer in restorers.items():
            if restorer.task in ("seg2face", "colorization", "inpainting"):
                raise UserError(f"{name}: these weights are for --dataset_name {restorer.task}, not for faces in "
                                f"photos.")
        self.settings = {
            "weights": {name: sha256(path) for name, path in o.weights.items()}, "version": VERSION,
            **{name: getattr(o, name) for name in READ}}
        self.restore = PhotoRestorer(restorers, upscale=o.upscale, paste=o.paste, fidelity=o.fidelity, which=o.faces,
                                     angles=ALL_ANGLES if o.angles == "all" else (0,), min_face=o.min_face,
                                     max_face=o.max_face)
        self.otherwise = "unchanged" if o.upscale == 1 else "enlarged"  # a photo without a restored face
        self.sheet: list[list[np.ndarray]] = []
        self.bad: list[str] = []

    def _find_photos(self):
        """Returns (folder, names relative to it) of the photos; UserError for none, or for an output among them."""
        o, given = self.options, Path(self.options.photos)
        shown = printable(o.photos)
        if given.is_file():
            if given.suffix.lower() not in EXTENSIONS:
                raise UserError(f"{shown}: it is no image by its name ({', '.join(sorted(EXTENSIONS)[:6])} ...).")
            found, root = [given], given.parent
        else:
            found, root = list_images(given, "PHOTO_OR_FOLDER", leave_out=(self.folder,)), given
        if os.path.realpath(self.folder) == os.path.realpath(root):
            raise UserError(f"--output_path {printable(self.folder)}: it is the folder of the photos, which would be "
                            f"replaced. Choose another folder.")
        if any(leads_into(path, os.path.realpath(self.folder)) for path in found):
            raise UserError(f"--output_path {printable(self.folder)}: photos lie in it, which would be replaced. "
                            f"Choose another folder.")
        names = [os.path.relpath(path, root) for path in found]
        if any(Path(name).parts[0] == ABOUT for name in names):
            raise UserError(f"{shown}: photos lie in its folder {ABOUT}, a name that newphoto.py uses for its reports. "
                            f"Rename that folder.")
        return root, names

    def run(self) -> int:
        """Returns 0, or 1 if a photo could not be read or written."""
        with contextlib.ExitStack() as held:
            distributed.from_main(lambda: self._claim_folder(held))
            started, counts = time.monotonic(), {"restored": 0, self.otherwise: 0, "skipped": 0, "done before": 0}
            for number, name in enumerate(self.names, 1):
                line = self._one(name, counts)
                left = (time.monotonic() - started) / number * (len(self.names) - number)
                print(f"[{number}/{len(self.names)}] {printable(name)}: {line}"
                      + (f"; {left:.0f} s left" if left >= 1 else ""), flush=True)
            parts = distributed.gather((counts, self.bad))
            if distributed.is_main():
                self._finish({what: sum(part[what] for part, _ in parts) for what in counts})
            bad = sum(len(names) for _, names in parts)
            if bad and distributed.is_main():
                print(f"error: {bad} photos could not be read or written; they are named above. All others are done.",
                      file=sys.stderr, flush=True)
        return int(bool(bad))

    def _claim_folder(self, held: contextlib.ExitStack) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--output_path: cannot write into {printable(self.folder)}: {error.strerror}.") from None
        held.enter_context(only_writer(self.folder, "--output_path"))

    def _one(self, name, counts):
        """Restores and writes one photo, counts it, and returns the line about it."""
        source, record_file = self.root / name, self.folder / REPORTS / f"{name}.json"
        asked = {**self.settings, "source": _identity(source)}
        known = _read_record(record_file)
        if known and not self.options.again and known.get("asked") == asked and (self.folder / known["file"]).is_file():
            counts["done before"] += 1
            return "done before"
        try:
            photo = read_photo(source)
            pixels, faces = self.restore(photo.pixels)
            require_folder(self.folder)
            target = file_name(name, photo)
            done = [face for face in faces if face.crop]
            changed = done or self.options.upscale > 1
            target = target if changed else name
            if os.path.lexists(self.folder / target) and (known or {}).get("file") != target:
                raise BadImage(source, f"{printable(self.folder / target)} is there already and was not written from "
                                       f"it; it is left as it is")
            if changed:
                write_photo(photo, pixels, self.folder / target)
            else:
                write_file(self.folder / target, source.read_bytes(), make_folder=True)
        except (BadImage, WriteError, OSError) as error:
            reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
            self.bad.append(name)
            counts["skipped"] += 1
            return f"skipped: {reason}"
        self._show(name, done)
        write_file(record_file, strict_json.dumps({
            "file": target, "asked": asked, "command": command(), "notes": photo.notes,
            "faces": [face.record() for face in faces]}, indent=1) + "\n", make_folder=True)
        counts["restored" if done else self.otherwise] += 1
        return _summary(faces, photo.notes, self.otherwise)

    def _show(self, name, faces: list[FoundFace]) -> None:
        """Keeps the first faces for the contact sheet, and writes all with --save_faces."""
        for number, face in enumerate(faces, 1):
            if len(self.sheet) < SHOWN:
                self.sheet.append([face.crop.aligned, face.crop.restored])
            if self.options.save_faces:
                for when in ("aligned", "restored"):
                    save_image(getattr(face.crop, when), self.folder / FACES / f"{name}.{number}.{when}.png")

    def _finish(self, counts) -> None:
        if self.sheet:
            size = max(len(pair[0]) for pair in self.sheet)
            same = [pair for pair in self.sheet if len(pair[0]) == size]
            save_image(grid(same, titles=["before", "after"]), self.folder / SHEET)
            print(f"Faces before and after: {printable(self.folder / SHEET)}")
        print(f"{', '.join(f'{number} {what}' for what, number in counts.items() if number)}. Photos: "
              f"{printable(self.folder)}, what was done to each face: {printable(self.folder / REPORTS)}")


def _identity(path: Path) -> dict[str, Any]:
    """Returns what says whether a photo changed since it was restored; {} if it cannot be read."""
    try:
        content = path.read_bytes()
    except OSError:
        return {}
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _read_record(path: Path) -> dict[str, Any] | None:
    """Returns an earlier report of a photo, None if there is none that can be read."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return known if isinstance(known, dict) and isinstance(known.get("file"), str) else None


def _summary(faces, notes, otherwise):
    if not faces:
        return "; ".join([f"no face found, {otherwise}", *notes])
    done = [face for face in faces if face.crop]
    left = [f"{face.skipped}" for face in faces if face.skipped]
    parts = [f"{len(done)} of {len(faces)} faces restored"] + [f"left as it is: {reason}" for reason in left]
    return "; ".join([*parts, *notes])
