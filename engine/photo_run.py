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
from PIL import Image

from restore.face_finder import ALL_ANGLES
from restore.photo import FoundFace, PhotoRestorer
from restore.photo_file import ELSE_SUFFIX, read_photo, write_photo
from restore.restorer import Restorer
from utils import distributed, strict_json
from utils.errors import UserError
from utils.files import WriteError, open_regular, read_regular_file, write_file
from utils.folder_lock import only_writer, require_folder
from utils.images import EXTENSIONS, MAX_PIXELS, BadImage, fitting, grid, list_images, resize, save_image
from utils.links import leads_into
from utils.names import printable
from utils.pretrained import sha256
from utils.version import VERSION, command

CHANGING = ("upscale", "paste", "fidelity", "faces", "angles", "min_face", "max_face")  # options that change photos
ABOUT = "newphoto"  # folder in the output folder, apart from the photos' own names
REPORTS, FACES, SHEET = f"{ABOUT}/reports", f"{ABOUT}/faces", f"{ABOUT}/faces.png"
OTHER_TASKS = ("seg2face", "colorization", "inpainting")  # of networks that restore no ordinary faces
LARGEST_REPORT = 2 ** 26  # bytes, of a photo's report: a face takes about 500
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
            if restorer.task in OTHER_TASKS:
                raise UserError(f"{name}: these weights are for --dataset_name {restorer.task}, not for faces in "
                                f"photos.")
        self.settings = {
            "weights": {name: sha256(path) for name, path in o.weights.items()}, "version": VERSION,
            **{name: getattr(o, name) for name in CHANGING}}
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
        record = self.folder / REPORTS / fitting(name, ".json")
        known = _read_record(record, name)
        try:
            content = _content(self.root / name)
            asked = self.settings | {"source_sha256": hashlib.sha256(content).hexdigest()}
            if known.get("asked") == asked and not self.options.again and (self.folder / known["file"]).is_file():
                counts["done before"] += 1
                return "done before"
            faces, notes = self._restore(name, content, known.get("file"), record, asked)
        except (BadImage, WriteError) as error:
            reason = (error.if_of_name() if isinstance(error, WriteError) else error).reason
            self.bad.append(name)
            counts["skipped"] += 1
            return f"skipped: {reason}"
        counts["restored" if any(face.crop for face in faces) else self.otherwise] += 1
        return _summary(faces, notes, self.otherwise)

    def _restore(self, name, content, own_file, record, asked):
        """Restores and writes one photo and its report. Returns (its faces, notes on it).

        content: of its file. own_file: the file of OUT that an earlier call wrote for this photo, which may be
        replaced; no other one may.
        """
        source, upscale = self.root / name, self.options.upscale
        photo = read_photo(source)
        height, width = photo.pixels.shape[:2]
        if height * width * upscale ** 2 > MAX_PIXELS:
            raise BadImage(source, f"enlarged {upscale} times it would have more than {MAX_PIXELS:,} pixels")
        pixels, faces = self.restore(photo.pixels)
        require_folder(self.folder)
        changed = upscale > 1 or any(face.crop for face in faces)
        target = f"{name}{photo.suffix}" if changed else name
        if os.path.lexists(self.folder / target) and own_file != target:
            raise BadImage(source, f"{printable(self.folder / target)} is there already, and no report says that it "
                                   f"was made of this photo; it is left as it is")
        about = {"file": target, "command": command(), "notes": photo.notes, "faces": [f.record() for f in faces]}
        # First without `asked`: if the process is killed now, the next call knows its own file and writes it again.
        _write_record(record, about)
        if changed:
            write_photo(photo, pixels, self.folder / target)
        else:
            write_file(self.folder / target, content, make_folder=True)
        self._show(name, [face for face in faces if face.crop])
        _write_record(record, about | {"asked": asked})
        return faces, photo.notes

    def _show(self, name, faces: list[FoundFace]) -> None:
        """Keeps the first faces for the contact sheet, and writes all with --save_faces."""
        for number, face in enumerate(faces, 1):
            if len(self.sheet) < SHOWN:
                self.sheet.append([face.crop.aligned, face.crop.restored])
            if self.options.save_faces:
                for when in ("aligned", "restored"):
                    save_image(getattr(face.crop, when), self.folder / FACES / fitting(name, f".{number}.{when}.png"))

    def _finish(self, counts) -> None:
        if self.sheet:
            size = max(len(before) for before, _ in self.sheet)
            pairs = [[np.asarray(resize(Image.fromarray(face), size)) for face in pair] for pair in self.sheet]
            save_image(grid(pairs, titles=["before", "after"]), self.folder / SHEET)
            print(f"Faces before and after: {printable(self.folder / SHEET)}")
        print(f"{', '.join(f'{number} {what}' for what, number in counts.items() if number)}. Photos: "
              f"{printable(self.folder)}, what was done to each face: {printable(self.folder / REPORTS)}")


def _content(path: Path) -> bytes:
    """Returns the bytes of a photo's file; BadImage if it cannot be read."""
    try:
        with open_regular(path) as file:
            return file.read()
    except OSError as error:
        raise BadImage(path, error.strerror) from None


def _read_record(path: Path, name: str) -> dict[str, Any]:
    """Returns an earlier report of the photo `name`; {} if there is none that can be read, or one of another file."""
    try:
        known = json.loads(read_regular_file(path, LARGEST_REPORT))
    except (UserError, ValueError, RecursionError):
        return {}
    return known if isinstance(known, dict) and known.get("file") in (name, f"{name}{ELSE_SUFFIX}") else {}


def _write_record(path: Path, content: dict[str, Any]) -> None:
    write_file(path, strict_json.dumps(content, indent=1) + "\n", make_folder=True)


def _summary(faces, notes, otherwise):
    if not faces:
        return "; ".join([f"no face found, {otherwise}", *notes])
    done = [face for face in faces if face.crop]
    left = [f"{face.skipped}" for face in faces if face.skipped]
    parts = [f"{len(done)} of {len(faces)} faces restored"] + [f"left as it is: {reason}" for reason in left]
    return "; ".join([*parts, *notes])
