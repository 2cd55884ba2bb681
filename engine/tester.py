# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""What newtest.py does, to be read from top to bottom: Tester.run."""
from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import utils.device
from data import find_dataset, input_title
from data.face_folder import FaceFolder
from data.loader import BadImages, InOrder, make_loader
from engine import results_folder
from engine.evaluate import RestoredFaces, restore_all, score_faces, to_device
from engine.evaluation_set import choose_faces
from engine.precision import choose_precision
from engine.score_report import ScoreReport
from metrics.face_groups import FaceGroups, fault_groups, size_group
from metrics.perceptual import PerceptualMetrics
from metrics.protocols import choose_protocols
from restore.description import describe
from restore.restorer import Restorer
from utils import distributed
from utils.background import in_background
from utils.errors import UserError
from utils.files import WriteError
from utils.folder_lock import require_folder
from utils.images import grid, output_names, quantize, read_rgb, save_image
from utils.option_types import check_name
from utils.pretrained import sha256
from utils.version import VERSION, command, commit

SHOWN = 8  # faces in samples.png
WORST = 10  # faces in worst.png


@dataclass
class RankResults:
    """What one rank restored and scored.

    rows           {index of a face: {metric: values}}
    samples        {index: [pictures for samples.png]}, uint8 HWC RGB, of the first faces
    seconds        of restoring, reading included
    restored       number of faces that were restored
    sides          {pixels: number of images on disk with this shorter side}; of --dataroot
    """
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    samples: dict[int, list[np.ndarray]] = field(default_factory=dict)
    seconds: float = 0.0
    restored: int = 0
    sides: Counter[int] = field(default_factory=Counter)

    @classmethod
    def of_all(cls, parts: Iterable[RankResults]) -> RankResults:
        """Returns the results of all ranks together; the slowest one's seconds."""
        whole = cls()
        for part in parts:
            whole.rows |= part.rows
            whole.samples |= part.samples
            whole.seconds = max(whole.seconds, part.seconds)
            whole.restored += part.restored
            whole.sides += part.sides
        return whole


class Tester:
    """One evaluation, from newtest.py's options. `run()` does it and returns the exit status.

    Raises UserError for options, weights and folders that cannot be used.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = o = options
        check_name(o.name)
        results_folder.check_apart(o)
        self.device = distributed.join_ranks(o)
        self.chosen = choose_precision(o, self.device)
        self.restorer = Restorer.load(Path(o.pretrain_model_path), self.device, self.chosen.precision,
                                      description=describe(vars(o)), batch_size=o.batch_size, runtime=o.runtime)
        self.evaluated = choose_faces(o, self.restorer.recipe.prior_maps)
        self.dataset = self.evaluated.faces
        self.titles = {"input": input_title(o.dataset_name, o.degradation), "restored": o.name[:20]}
        self.names = output_names(self.dataset.paths, o.dataroot or o.gtroot)
        self.protocols = choose_protocols(o.protocols, o.crop_border)
        self.perceptual = PerceptualMetrics(o, self.device)
        self.face_groups = FaceGroups() if o.report else None
        self.fid_references = self._fid_references()
        for faces, option in ((self.dataset, "--fid_path"), (self.fid_references, "--fid_reference")):
            if o.fid_path and faces is not None and len(faces) < 2:
                raise UserError(f"{option}: FID compares sets of faces; one face is none.")
        self.bad = BadImages(len(self.dataset), o.on_bad_image, self._warn, restoring=True)
        self._held = contextlib.ExitStack()  # the folder's lock, until run() ends
        self.prior_titles = ""  # of priors.png, once it is written
        self.folder = distributed.from_main(lambda: results_folder.prepare(o, self._held))

    def run(self) -> int:
        """Restores, scores and writes all faces that can be read.

        Returns the exit status: 0, or 1 if a face could not be restored, written or scored.
        """
        with self._held:
            return self._run()

    def _run(self):
        self._greet()
        results = RankResults()
        with in_background(self._score_and_write, self._restored(results)) as finished:
            for rows, samples, unwritten in finished:
                results.rows |= rows
                results.samples |= samples
                for index, reason in unwritten.items():
                    self.bad.add(self.dataset.paths[index], reason)
        references = self._reference_features()
        self.bad.take_in_all_ranks()
        whole = RankResults.of_all(distributed.gather(results))
        if distributed.is_main():
            self._report(whole, references)
            if self.bad.bad:
                print(f"error: {len(self.bad.bad)} images could not be read, restored, written or scored; they are "
                      f"listed above. All others are done.", file=sys.stderr, flush=True)
        return 1 if self.bad.bad else 0

    @staticmethod
    def _warn(line: str) -> None:
        print(line, flush=True)

    def _loader(self, faces):
        o = self.options
        order = InOrder(len(faces), o.batch_size, distributed.rank(), distributed.world_size())
        return make_loader(faces, order, o.workers, data_timeout=o.data_timeout)

    def _greet(self) -> None:
        if not distributed.is_main():
            return
        o = self.options
        ranks = f", {distributed.world_size()} ranks" if distributed.launched() else ""
        print(utils.device.banner(self.device, *self.chosen.precision, o.workers))
        if self.chosen.note:
            print(f"warning: {self.chosen.note}")
        if o.pretrained_note:
            print(o.pretrained_note)
        print(f"Restoring {len(self.dataset)} faces with {o.pretrain_model_path} "
              f"({self.restorer.parameters / 1e6:.3f} M parameters{ranks})", flush=True)
        for line in self.dataset.warnings:
            print(f"warning: {line}", flush=True)

    def _restored(self, results: RankResults) -> Iterator[tuple[RestoredFaces, np.ndarray, list[dict[str, Any]]]]:
        """Yields (faces, restored ones as uint8 [N, H, W, 3], [{metric of a network: values}]); counts the faces."""
        start = time.perf_counter()
        for faces in restore_all(self.restorer, self._loader(self.dataset)):
            results.seconds += time.perf_counter() - start  # the faces are on the host: the device is done
            self.bad.check(faces.batch)
            if faces.indices:
                restored = quantize(faces.restored, "round")
                results.restored += len(restored)
                results.sides.update(faces.batch.get("side", ()))
                if self.restorer.recipe.prior_maps and not self.prior_titles and distributed.is_main():
                    self.prior_titles = self._write_priors(faces)
                yield faces, restored, self.perceptual.score(faces.inputs, restored, faces.references)
            start = time.perf_counter()

    def _score_and_write(self, item: tuple[RestoredFaces, np.ndarray, list[dict[str, Any]]]
                         ) -> tuple[dict[int, dict[str, Any]], dict[int, list[np.ndarray]], dict[int, str]]:
        """Returns {index: {metric: values}}, {index: [pictures for samples.png]}, {index: why it was not written}.

        item: of _restored. Runs beside the network.
        """
        faces, restored, perceptual = item
        return self._scores(faces, perceptual), *self._write_pictures(faces, restored)

    def _scores(self, faces: RestoredFaces, perceptual: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
        """Returns {index: {metric: values}}; faces whose reference cannot be read are left out."""
        scores = [perceptual]
        if faces.references is not None:
            scores.append(score_faces(faces, self.protocols))
        if self.evaluated.prior_metrics:
            scores.append(self.evaluated.prior_metrics.score(faces.estimated.numpy(), faces.priors))
        if self.face_groups:
            scores.append(self._groups(faces))
        left_out = faces.batch.get("unscored", [False] * len(faces.indices))
        return {index: {metric: values for part in parts for metric, values in part.items()}
                for index, parts, unscored in zip(faces.indices, zip(*scores, strict=True), left_out, strict=True)
                if not unscored}

    def _groups(self, faces: RestoredFaces) -> list[dict[str, dict[str, str]]]:
        """Returns [{'groups': {kind: group}}], one per face."""
        found = self.face_groups(faces.references)
        if "side" in faces.batch:
            inputs = [{"size": size_group(side)} for side in faces.batch["side"]]
        else:
            inputs = map(fault_groups, faces.batch.get("drawn") or [{}] * len(found))
        return [{"groups": groups | of_input} for groups, of_input in zip(found, inputs, strict=True)]

    def _write_pictures(self, faces: RestoredFaces, restored: np.ndarray
                        ) -> tuple[dict[int, list[np.ndarray]], dict[int, str]]:
        """Writes the restored faces; returns {index: [pictures for samples.png]} of the first, {index: failure}."""
        samples, unwritten = {}, {}
        if distributed.is_main():  # other hosts need not share the folder
            require_folder(self.folder)  # it would be made again, with the remaining faces only
        for place, index in enumerate(faces.indices):
            try:
                save_image(restored[place], self.folder / "restored" / self.names[index])
            except WriteError as error:
                unwritten[index] = f"its restored image cannot be written: {error.if_of_name().reason}"
            if index < SHOWN:
                samples[index] = [faces.inputs[place], restored[place],
                                  *([] if faces.references is None else [faces.references[place]])]
        return samples, unwritten

    def _write_priors(self, faces: RestoredFaces) -> str:
        """Writes priors.png, the recipe's pictures of a batch's first faces; returns the titles of its columns."""
        from engine.report import picture_grid  # not at the top: matplotlib takes a second to import
        shown, titles = picture_grid(self.restorer.recipe, to_device(faces.batch, self.device), rows=SHOWN)
        save_image(shown, self.folder / "priors.png")
        return titles

    def _write_worst(self, names: Sequence[str]) -> None:
        """Writes worst.png, LR | SR | HR of the first faces of `names`; other hosts' faces are left out."""
        files = {name: self.folder / "restored" / name for name in names}
        shown = [name for name in names if files[name].is_file()][:WORST]
        rows = []
        for name in shown:
            sample = self.dataset[0, self.names.index(name)]
            rows.append([sample.get("given", sample["lr"]), np.asarray(read_rgb(files[name])), sample["hr"]])
        save_image(grid(rows, titles=["LR", "SR", "HR"]), self.folder / "worst.png")

    def _fid_references(self) -> FaceFolder | None:
        """Returns the dataset of the faces in --fid_reference; None without such a folder."""
        o = self.options
        if not o.fid_reference:
            return None
        single = find_dataset("single")
        paths = single.list_faces(o.fid_reference, "--fid_reference", leave_out=results_folder.output_folders(o))
        return single(paths, load_size=o.load_size, on_bad_image="stop")

    def _reference_features(self) -> np.ndarray | None:
        """Returns FID's features of the faces in --fid_reference, from all ranks; None without such a folder."""
        if self.fid_references is None:
            return None
        found = []
        for batch in self._loader(self.fid_references):
            self.bad.check(batch)
            if batch["index"]:
                found.append(self.perceptual.features(np.asarray(batch["lr"])))
        parts = [part for parts in distributed.gather(found) for part in parts]
        return np.concatenate(parts) if parts else np.empty((0, 0), np.float32)

    def _report(self, results: RankResults, references: np.ndarray | None) -> None:
        """Prints the summary and writes samples.png, scores.json and faces.csv; results: of all ranks."""
        for line in self.bad.report():
            print(line)
        require_folder(self.folder)
        if not results.restored:
            raise UserError(f"none of the {len(self.dataset)} images could be restored.", status=1)
        if results.samples:
            shown = [results.samples[i] for i in sorted(results.samples)]
            save_image(grid(shown, titles=["LR", "SR", "HR"][:len(shown[0])]), self.folder / "samples.png")
        print(f"Restoring took {results.restored / results.seconds:.2f} images/sec (reading included; "
              f"scoring and writing went on beside it)")
        note = self.restorer.size_note(results.sides)
        if note:
            print(f"warning: {note}")
        scored = sorted(results.rows)
        report = ScoreReport([self.names[i] for i in scored], [results.rows[i] for i in scored], self.titles,
                             self.protocols, self.evaluated.prior_metrics,
                             [*self.evaluated.absent, *self.perceptual.absent], references)
        if not report.is_empty():
            self._report_scores(report)
        if self.prior_titles:
            print(f"Priors: {self.folder}/priors.png ({self.prior_titles})")
        print(f"Pictures: {self.folder}/restored, {self.folder}/samples.png "
              f"({'LR | SR | HR' if report.has_references else 'LR | SR'})")

    def _report_scores(self, report: ScoreReport) -> None:
        o = self.options
        for line in report.lines():
            print(line)
        report.write_json(self.folder / "scores.json", {
            "name": o.name, "weights": str(o.pretrain_model_path), "weights_sha256": sha256(o.pretrain_model_path),
            "parameters": self.restorer.parameters, "device": str(self.device),
            "machine": utils.device.machine(self.device), "opt_level": self.chosen.precision.opt_level,
            "version": VERSION, "commit": commit(), "command": command()})
        report.write_csv(self.folder / "faces.csv")
        if self.face_groups and report.has_references:
            report.write_groups(self.folder / "report.md")
            self._write_worst(report.by_gain())
            print(f"Groups of faces: {self.folder}/report.md, those that gained least: {self.folder}/worst.png")
        if report.has_references:
            print(report.accuracy_line())
        print(f"Scores: {self.folder}/scores.json, of every face: {self.folder}/faces.csv")
