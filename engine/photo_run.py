# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""What newphoto.py does, to be read from top to bottom: PhotoRun.run."""
from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from engine import video_run
from engine.photo_records import read_record, write_record
from restore.background import Background
from restore.face_finder import ALL_ANGLES
from restore.photo import FoundFace, PhotoRestorer
from restore.photo_file import Photo, read_photo, write_photo
from restore.photo_weights import load_photo_weights
from restore.video_file import EXTENSIONS as VIDEO_EXTENSIONS
from utils import distributed
from utils.background import in_batches, usable_cores
from utils.errors import UserError
from utils.files import WriteError, is_temporary, open_regular, write_file
from utils.folder_lock import only_writer, require_folder
from utils.images import (
    EXTENSIONS,
    MAX_PIXELS,
    USUAL,
    BadImage,
    fitting,
    grid,
    list_images,
    read_size,
    resize,
    save_image,
)
from utils.links import leads_into
from utils.names import printable
from utils.pretrained import sha256
from utils.version import VERSION, command

CHANGING = ("upscale", "paste", "fidelity", "faces", "angles", "min_face", "max_face")  # options that change photos
ABOUT = "newphoto"  # folder in the output folder, apart from the photos' own names
REPORTS, FACES, SHEET = f"{ABOUT}/reports", f"{ABOUT}/faces", f"{ABOUT}/faces.png"
SUMMARY = f"{ABOUT}/report.json"
SHOWN = 24  # faces in the contact sheet
TILES_SHOWN = 10  # seconds from one line on the background to the next
MOST_THREADS = 4  # that read and search photos, each with up to 0.3 GB
IN_FLIGHT = 64e6  # pixels, as written, of the photos that are in memory at a time: 6 bytes each, 12 with 16 bits


@dataclass
class _Job:
    """One photo or video on its way.

    outcome: restored, skipped ...; message: the printed line; both once it is finished. about: what its report says.
    """
    name: str
    known: dict[str, Any]  # its report of an earlier call
    content: bytes = b""
    asked: dict[str, Any] = field(default_factory=dict)
    photo: Photo | None = None
    faces: list[FoundFace] = field(default_factory=list)
    target: str = ""  # the output's name
    about: dict[str, Any] = field(default_factory=dict)
    outcome: str | None = None
    message: str = ""

    def written(self) -> set[str]:
        """Returns the names of what earlier calls made of it: a GIF file becomes a.gif, or enlarged a.gif.png."""
        return {self.known["file"], *self.known["also"]} if self.known else set()

    def skip(self, error: BadImage | WriteError) -> None:
        reason = (error.if_of_name() if isinstance(error, WriteError) else error).reason
        self.outcome, self.message, self.faces, self.about = "skipped", f"skipped: {reason}", [], {}

    def record(self) -> dict[str, Any]:
        """Returns what --report says of the finished photo or video, for JSON."""
        about = self.known if self.outcome == "done before" else self.about
        found = "tracks" if _is_video(self.name) else "faces"
        return {"photo": self.name, "outcome": self.outcome, "message": self.message,
                "file": None if self.outcome == "skipped" else about["file"], found: about.get(found, [])}


class _TileProgress:
    """Prints, now and then, how much of a photo's background was enlarged."""

    def __init__(self, name: str) -> None:
        self.name, self.printed = name, time.monotonic()

    def __call__(self, done: int, tiles: int) -> None:
        if done < tiles and time.monotonic() - self.printed >= TILES_SHOWN:
            self.printed = time.monotonic()
            print(f"{printable(self.name)}: {done} of {tiles} tiles of the background", flush=True)


class PhotoRun:
    """One call of newphoto.py. `run()` restores all photos and videos and returns the exit status. Ranks share them.

    Raises UserError for options, weights and folders that cannot be used.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = o = options
        self.folder = Path(o.output_path)
        self.root, names = self._find_photos()
        device = distributed.join_ranks(o)
        self.kinds = "photos or videos" if any(map(_is_video, names)) else "photos"
        self.names = names[distributed.rank()::distributed.world_size()]
        restorers = load_photo_weights(o.weights, device)
        background = Background.load(o.bg_path, device) if o.bg_path else None
        self.settings = {
            "weights": {name: sha256(path) for name, path in o.weights.items()}, "version": VERSION,
            "background": o.bg_path and sha256(o.bg_path),
            **{name: getattr(o, name) for name in CHANGING}}
        self.restore = PhotoRestorer(restorers, upscale=o.upscale, paste=o.paste, fidelity=o.fidelity, which=o.faces,
                                     angles=ALL_ANGLES if o.angles == "all" else (0,), min_face=o.min_face,
                                     max_face=o.max_face, background=background)
        self.otherwise = "unchanged" if o.upscale == 1 else "enlarged"  # a photo without a restored face
        self.sheet: list[list[np.ndarray]] = []
        self.done: list[dict[str, Any]] = []  # what --report says of each photo
        self.targets: set[str] = set()  # outputs of this call

    def _find_photos(self):
        """Returns (folder, names relative to it) of the files; UserError for none, or for an output among them."""
        o, given = self.options, Path(self.options.photos)
        shown = printable(o.photos)
        if given.is_file():
            if given.suffix.lower() not in EXTENSIONS | VIDEO_EXTENSIONS:
                raise UserError(f"{shown}: it is no image by its name ({USUAL} ...), and "
                                f"no video ({', '.join(sorted(VIDEO_EXTENSIONS))}).")
            found, root = [given], given.parent
        else:
            found, root = list_images(given, "PHOTO_OR_FOLDER", leave_out=(self.folder,), also=VIDEO_EXTENSIONS), given
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
        """Returns 0, or 1 if a photo or video could not be read or written."""
        with contextlib.ExitStack() as held:
            distributed.from_main(lambda: self._claim_folder(held))
            started, counts = time.monotonic(), {"restored": 0, self.otherwise: 0, "skipped": 0, "done before": 0}
            for number, job in enumerate(self._finished(), 1):
                counts[job.outcome] += 1
                self._show(job.faces)
                if self.options.report:
                    self.done.append(job.record())
                left = (time.monotonic() - started) / number * (len(self.names) - number)
                print(f"{self._head(number, job.name)}: {job.message}"
                      + (f"; {left:.0f} s left" if left >= 1 else ""), flush=True)
            parts = distributed.gather((counts, self.done))
            counts = {outcome: sum(part[outcome] for part, _ in parts) for outcome in counts}
            if distributed.is_main():
                self._finish(counts, [photo for _, photos in parts for photo in photos])
            bad = counts["skipped"]
            if bad and distributed.is_main():
                print(f"error: {bad} {self.kinds} could not be read or written; they are named above. All others are "
                      f"done.", file=sys.stderr, flush=True)
        return int(bool(bad))

    def _head(self, number, name):
        """Begins the lines about a photo or video. Of several ranks each counts the files of its own share."""
        whose = f" of rank {distributed.rank()}" if distributed.world_size() > 1 else ""
        return f"[{number}/{len(self.names)}{whose}] {printable(name)}"

    def _finished(self):
        """Yields the _Jobs of all photos, then of all videos, each in the folder's order."""
        videos = list(filter(_is_video, self.names))
        photos = [name for name in self.names if not _is_video(name)]
        yield from self._finished_photos(photos)
        for number, name in enumerate(videos, len(photos) + 1):
            yield self._restore_video(name, self._head(number, name))

    def _finished_photos(self, names):
        """Yields the _Jobs of these photos. Faces are restored in batches, over photos.

        Threads read and search photos beside the network, and paste and write them after it.
        """
        threads = max(1, min(MOST_THREADS, usable_cores() // distributed.world_size()))
        batch = max(restorer.batch_size for restorer in self.restore.restorers.values())

        def faces(job):
            return sum(bool(face.crop) for face in job.faces)
        with ThreadPoolExecutor(threads) as pool:
            for jobs in in_batches(self._look, names, self._pixels, faces, batch, IN_FLIGHT, threads):
                restored = iter(self.restore.restore([face for job in jobs for face in job.faces]))
                for job in jobs:
                    job.faces = [next(restored) for _ in job.faces]
                    self._choose_target(job)
                yield from pool.map(self._write, jobs)

    def _claim_folder(self, held: contextlib.ExitStack) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--output_path: cannot write into {printable(self.folder)}: {error.strerror}.") from None
        held.enter_context(only_writer(self.folder, "--output_path"))
        for torn in filter(is_temporary, self.folder.rglob(".*.tmp")):  # of a killed call; of a video it may be large
            torn.unlink(missing_ok=True)

    def _pixels(self, name):
        try:
            width, height = read_size(self.root / name)
        except BadImage:
            return 0  # it is reported when it is read
        return width * height * self.options.upscale ** 2

    def _look(self, name):
        """Reads and searches a photo. Returns its _Job, finished if there is nothing more to do."""
        job = _Job(name, read_record(self._record(name), name))
        try:
            job.content = _content(self.root / name)
            if self._is_done(job, hashlib.sha256(job.content).hexdigest()):
                return job
            photo, upscale = read_photo(io.BytesIO(job.content)), self.options.upscale
            height, width = photo.pixels.shape[:2]
            if height * width * upscale ** 2 > MAX_PIXELS:
                raise BadImage(name, f"enlarged {upscale} times it would have more than {MAX_PIXELS:,} pixels")
            job.faces, job.photo = self.restore.cut_faces(photo.pixels), photo
        except BadImage as error:
            job.skip(error)
        return job

    def _is_done(self, job, digest):
        """Notes what is asked of a file with this SHA-256. Returns whether an earlier call has done it."""
        job.asked = self.settings | {"source_sha256": digest}
        if (job.known.get("asked") == job.asked and not self.options.again
                and (self.folder / job.known["file"]).is_file()):
            job.outcome = job.message = "done before"
        return bool(job.outcome)

    def _choose_target(self, job):
        """Sets the output's name of a photo; skips it if that name is taken."""
        if job.outcome:
            return
        job.target = f"{job.name}{job.photo.suffix}" if self._changed(job) else job.name
        try:
            self._take_names(job, {job.target})
        except BadImage as error:
            job.skip(error)

    def _take_names(self, job, names):
        """Takes names in OUT. Of the files there, only those that this photo or video became earlier are replaced."""
        for name in names:
            if name in self.targets or (os.path.lexists(self.folder / name) and not self._is_own(job, name)):
                raise BadImage(job.name, f"{printable(self.folder / name)} is there already, and no report says that "
                                         f"it was made of this file; it is left as it is")
        self.targets |= names

    def _is_own(self, job, name):
        """Returns whether a file of OUT was made of this photo or video, not of another one that has this name."""
        other = {} if name == job.name else read_record(self._record(name), name)
        return name in job.written() and other.get("file") != name

    def _changed(self, job):
        return self.options.upscale > 1 or any(face.crop for face in job.faces)

    def _write(self, job):
        """Pastes the faces of a photo and writes it, unless its _Job is finished. Returns the finished one."""
        if job.outcome:
            return job
        try:
            self._write_files(job)
        except (BadImage, WriteError) as error:
            self._withdraw_report(job)
            job.skip(error)
        else:
            job.outcome = "restored" if any(face.crop for face in job.faces) else self.otherwise
            job.message = _summary(job.faces, job.photo.notes, self.otherwise)
        job.photo = None
        return job

    def _write_files(self, job):
        """Writes the photo and its report."""
        self._begin_report(job, job.target, {
            "notes": job.photo.notes, "faces": [face.record() for face in job.faces]})
        if self._changed(job):
            pixels = self.restore.paste_faces(job.photo.pixels, job.faces, _TileProgress(job.name))
            write_photo(job.photo, pixels, self.folder / job.target)
        else:
            write_file(self.folder / job.target, job.content, make_folder=True)
        self._save_faces(job.name, job.faces)
        self._finish_report(job)

    def _save_faces(self, name, found):
        """With --save_faces, writes the restored ones of these faces, before and after."""
        if not self.options.save_faces:
            return
        for number, face in enumerate((face for face in found if face.crop), 1):
            for when in ("aligned", "restored"):
                save_image(getattr(face.crop, when), self.folder / FACES / fitting(name, f".{number}.{when}.png"))

    def _restore_video(self, name, head):
        """Restores and writes a video. Returns its finished _Job. head: begins the lines about the progress."""
        job, source = _Job(name, read_record(self._record(name), name)), self.root / name
        try:
            if self._is_done(job, video_run.digest(source)):
                return job
            run = video_run.VideoRun(source, self.restore, lambda line: print(f"{head}: {line}", flush=True))
            job.target = f"{name}{run.video.suffix}"
            self._take_names(job, {job.target, name})
            if not run.restore(self.folder / job.target, lambda: self._begin_report(job, job.target, run.about)):
                self._begin_report(job, name, run.about)
                run.copy(self.folder / name)
            self._save_faces(name, run.examples)
            self._finish_report(job)
        except (BadImage, WriteError) as error:
            self._withdraw_report(job)
            job.skip(error)
        else:
            job.faces = run.examples
            job.outcome = "restored" if any(track.restored for track in run.tracks) else self.otherwise
            job.message = run.summary(self.otherwise)
        return job

    def _begin_report(self, job, file, about):
        """Writes a report without `asked`: if the process is killed now, the next call knows its own file."""
        require_folder(self.folder)
        job.about = {"file": file, "also": sorted(job.written() - {file}), "command": command(), **about}
        write_record(self._record(job.name), job.about)

    def _withdraw_report(self, job):
        """Removes the report of a file that was not written, so that no other file of its name is taken for it."""
        if job.about and not os.path.lexists(self.folder / job.about["file"]):
            also = [name for name in job.about["also"] if os.path.lexists(self.folder / name)]
            if also:
                write_record(self._record(job.name), {"file": also[0], "also": also[1:]})
            else:
                self._record(job.name).unlink(missing_ok=True)

    def _finish_report(self, job):
        write_record(self._record(job.name), job.about | {"asked": job.asked})

    def _record(self, name):
        return self.folder / REPORTS / fitting(name, ".json")

    def _show(self, found):
        """Keeps the first restored faces for the contact sheet."""
        faces = [face for face in found if face.crop]
        self.sheet += [[face.crop.aligned, face.crop.restored] for face in faces[:SHOWN - len(self.sheet)]]

    def _finish(self, counts, photos) -> None:
        if self.options.report:
            write_record(self.folder / SUMMARY, {
                "command": command(), "counts": counts, "photos": sorted(photos, key=lambda photo: photo["photo"])})
        if self.sheet:
            size = max(len(before) for before, _ in self.sheet)
            pairs = [[np.asarray(resize(Image.fromarray(face), size)) for face in pair] for pair in self.sheet]
            save_image(grid(pairs, titles=["before", "after"]), self.folder / SHEET)
            print(f"Faces before and after: {printable(self.folder / SHEET)}")
        print(f"{', '.join(f'{number} {outcome}' for outcome, number in counts.items() if number)}. Photos: "
              f"{printable(self.folder)}, what was done to each face: {printable(self.folder / REPORTS)}")


def _is_video(name: str) -> bool:
    return Path(name).suffix.lower() in VIDEO_EXTENSIONS


def _content(path: Path) -> bytes:
    """Returns the bytes of a photo's file; BadImage if it cannot be read."""
    try:
        with open_regular(path) as file:
            return file.read()
    except OSError as error:
        raise BadImage(path, error.strerror) from None


def _summary(faces, notes, otherwise):
    """Returns the line about a photo that was written."""
    sure = [face for face in faces if not face.face.doubtful]
    restored = f"{sum(bool(face.crop) for face in sure)} of {len(sure)} faces restored"
    parts = [restored if sure else f"no face found, {otherwise}"]
    reasons: dict[str, list[FoundFace]] = {}  # all of one kind are one part: a photo of a crowd would fill the screen
    for face in sorted(faces, key=lambda face: -face.face.trust):
        if face.skipped:
            reasons.setdefault(face.skipped.partition(":")[0], []).append(face)
    for first, *further in reasons.values():
        what = "places" if first.face.doubtful else "faces"
        parts.append(f"left as it is: {first.skipped}{f' (one of {len(further) + 1} such {what})' if further else ''}")
    return "; ".join([*parts, *notes])
