# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""What newexport.py does, to be read from top to bottom: Exporter.run."""
from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from data import input_reader
from data.seg2face_dataset import PALETTE
from deploy.choices import INT8, OM
from deploy.export_form import HalfForm, export_form, restores_by_batch
from deploy.faces import Faces, faces_of, inputs_of
from deploy.formats import FORMATS
from models.base_model import BaseModel
from restore.description import Description, describe, read_metadata
from restore.restorer import Restorer
from utils.errors import UserError
from utils.files import check_regular_file, replacing, write_file
from utils.folder_lock import move_aside, only_writer
from utils.images import Skipped
from utils.links import find_way_into, leads_into
from utils.names import printable
from utils.onnx_file import INPUT, OUTPUT, SUFFIX, import_package
from utils.pretrained import sha256
from utils.version import VERSION, command, commit

RECORD = "export.json"
BATCHES = (1, 3)  # at which every file is compared
SCALE = 8  # the comparison's faces are random numbers at a SCALE-th of the size, enlarged


class Bound(NamedTuple):
    """largest: accepted difference from the network, relative to its largest output. why: reason if above 1e-5."""
    largest: float
    why: str = ""


FLOAT32 = Bound(1e-5)
NORMALISED = Bound(1e-3, "instance norm divides each map by its deviation, which amplifies the rounding of nearly "
                         "constant maps")
FLOAT16 = Bound(5e-2, "float16 has 11 significant bits: 5e-4 per operation")


class Precision(NamedTuple):
    """suffix: of the file's name. network: turns the export form into the network that is written."""
    suffix: str
    network: Callable[[nn.Module], nn.Module]


PRECISIONS = {"fp32": Precision("", lambda form: form), "fp16": Precision("_fp16", HalfForm)}


class Exporter:
    """One export, from newexport.py's options. `run()` does it and returns the exit status.

    Raises UserError for options, weights and folders that cannot be used, and for packages that are not installed.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = o = options
        self.weights, self.folder = Path(o.pretrain_model_path), Path(o.output_path)
        if self.weights.suffix == SUFFIX:
            raise UserError(f"{self.weights}: it is an exported file already; give the weights that it was made of.")
        for name in o.formats:
            for package in FORMATS[name].packages:
                import_package(package, f"--formats {name}")
        self.description = describe(vars(o))
        known = read_metadata(self.weights)
        if known:
            self.description = replace(self.description, **{name: getattr(known, name) for name in (
                "alignment", "commit", "data", "licence")})
        self.restorer = Restorer.load(self.weights, "cpu", description=self.description)
        self.weights_sha256 = sha256(self.weights)
        self.int8 = self.faces = None
        self.skipped = Skipped()
        if INT8 in o.precision:
            from deploy.int8_export import Int8Export  # not at the top: it needs onnxruntime
            self.int8 = Int8Export(o, self.description, self.skipped)
        if o.gtroot or o.dataroot:
            self.faces = evaluation_faces(o, self.description, self.skipped)
        self._check_om_files()
        self._check_folder()

    def run(self) -> int:
        """Writes and compares all files.

        Returns the exit status: 0, or 1 if a file differs too much and is not kept, or a face could not be read.
        """
        with contextlib.ExitStack() as held:
            self._claim_folder(held)
            recipe, size = self.restorer.recipe, self.description.input_size
            form = export_form(recipe)
            cases = reference_cases(recipe, size, sorted({*BATCHES, *self.options.batch}))
            print(f"Exporting {self.weights} ({self.restorer.parameters / 1e6:.3f} M parameters, {size} pixels) to "
                  f"{printable(self.folder)}")
            if restores_by_batch(recipe):
                print("The network's blocks are tied: it normalises by the batch. The files restore each face as a "
                      "batch of one, at any batch size, and are compared with that.")
            rows: list[dict] = []
            self._record(rows)
            for precision in self.options.precision:
                for name in self.options.formats if precision in PRECISIONS else ():
                    rows.append(self._export(form, precision, name, cases))
                    self._record(rows)
            calibrated = None
            if self.int8:
                content = FORMATS["onnx"].serialize(form, size, self.metadata(INT8), self.options.opset)
                found, calibrated = self.int8.write(content, self.folder)
                rows += found
                self._record(rows)
            failed = self._finish(rows, calibrated)
        return max(self.skipped.exit_status(), int(not all(row["kept"] for row in rows)), failed)

    def _finish(self, rows, calibrated) -> int:
        """Evaluates the ONNX files that were kept, and writes Ascend's folder beside a float32 one.

        Returns 1 if a file could not be evaluated, else 0.
        """
        files = [self.folder / row["file"] for row in rows if row["format"] == "onnx" and row["kept"]]
        table, failed = None, 0
        if self.faces:
            from deploy import evaluation
            o = self.options
            table = evaluation.evaluate(self.weights, self.restorer, [*files, *o.om], self.faces, max([*o.batch, 4]),
                                        o.rounds)
            evaluation.write_table(table, self.folder, command())
            failed = int(bool(table["failed"]))
            for line in table["failed"]:
                print(f"error: {line}", file=sys.stderr, flush=True)
            table = evaluation.markdown(table)
        if any(row["precision"] == "fp32" and row["format"] == "onnx" and row["kept"] for row in rows):
            from deploy import ascend_commands
            ascend_commands.write_folder(self.folder / "ascend", self.options, self.description, calibrated, table)
        return failed

    def _record(self, rows) -> None:
        """Writes RECORD, which also marks the folder as one of exports: it comes before the first file."""
        write_file(self.folder / RECORD, json.dumps({
            "weights": str(self.weights), "weights_sha256": self.weights_sha256, "version": VERSION,
            "commit": commit(), "command": command(), "files": rows}, indent=1) + "\n")

    def _check_om_files(self) -> None:
        """Raises UserError if the files of --om cannot be evaluated."""
        if not self.options.om:
            return
        if not self.faces:
            raise UserError("--om: the files are compared with references: give --gtroot FOLDER, too.")
        import_package("ais_bench", "--om", "it comes with Ascend's tools (ais_bench inference tool)")
        for path in self.options.om:
            check_regular_file(path)
            if path.suffix != OM:
                raise UserError(f"--om {printable(path)}: a file of ATC, with the ending {OM}, is needed.")
            if leads_into(path, os.path.realpath(self.folder)):
                raise UserError(f"--om {printable(path)}: it lies in --output_path, whose files are moved aside: move "
                                f"it first.")

    def _check_folder(self) -> None:
        """Raises UserError if the output folder cannot be used; changes nothing."""
        folder, shown = self.folder, printable(self.folder)
        if folder.exists() and not folder.is_dir():
            raise UserError(f"--output_path {shown}: it is a file; a folder is needed.")
        o = self.options
        for what, path in (("the weights", self.weights), ("--calibroot", o.calibroot), ("--gtroot", o.gtroot),
                           ("--dataroot", o.dataroot)):
            found = path and find_way_into(path, os.path.realpath(folder))
            if found:  # it would be moved aside
                raise UserError(f"--output_path {shown}: it contains {what} {printable(found)}. Choose another folder.")
        for faces, what in ((self.int8 and self.int8.faces, "--calibroot"), (self.faces, "--dataroot")):
            inside = [name for name in faces.names if leads_into(name, os.path.realpath(folder))] if faces else []
            if inside:  # named by a list
                raise UserError(f"--output_path {shown}: it contains {printable(inside[0])} of {what}. Choose another "
                                f"folder.")
        try:
            others = folder.is_dir() and [path for path in folder.iterdir() if not path.name.startswith(".")]
        except OSError as error:
            raise UserError(f"--output_path {shown}: it cannot be read: {error.strerror}.") from None
        if others and not (folder / RECORD).exists():
            raise UserError(f"--output_path {shown}: it holds files that are not of an export, e.g. "
                            f"{printable(min(others).name)}. Choose a new or an empty folder.")

    def _claim_folder(self, held: contextlib.ExitStack) -> None:
        """Makes the output folder and locks it; an earlier export in it is moved aside."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(only_writer(self.folder, "--output_path"))
            move_aside(self.folder, "exports")
        except OSError as error:
            raise UserError(f"--output_path: cannot write into {printable(self.folder)}: {error.strerror}.") from None

    def _export(self, form, precision, name, cases):
        """Writes and compares one file. Returns its row of RECORD; a file that differs too much is not kept."""
        kind, how = FORMATS[name], PRECISIONS[precision]
        path = self.folder / f"{self.options.name}{how.suffix}{kind.suffix}"
        content = kind.serialize(how.network(form), self.description.input_size, self.metadata(precision),
                                 self.options.opset)
        bound = bound_of(form, precision)
        row = {"file": path.name, "format": name, "precision": precision, "bytes": len(content)}
        try:
            with replacing(path) as file:
                file.write(content)
                file.flush()
                worst = largest_difference(kind.load(Path(file.name)), cases)
                if not worst <= bound.largest:
                    raise _Differs
        except _Differs:
            print(f"error: {path.name}: its result differs from the network's by {worst:.1e} of the largest value; "
                  f"{bound.largest:.0e} is accepted{f' ({bound.why})' if bound.why else ''}. It is not kept.",
                  file=sys.stderr, flush=True)
            return row | {"difference": worst, "bound": bound.largest, "kept": False}
        print(f"{path.name}: {len(content) / 1e6:.2f} MB, largest relative difference from the network at batch "
              f"{', '.join(str(len(low)) for low, _ in cases)}: {worst:.1e} (bound {bound.largest:.0e}"
              f"{f': {bound.why}' if bound.why else ''})", flush=True)
        return row | {"difference": worst, "bound": bound.largest, "kept": True}

    def metadata(self, precision: str) -> dict[str, str]:
        """Returns the metadata of a file: restore/description.py reads the network's part, deploy/runtimes.py the rest.
        """
        described = self.description.metadata()
        del described["format"]
        reader = input_reader(self.description.task, self.description.degradation).input_dataset
        found = described | {
            "input_name": INPUT, "output_name": OUTPUT, "layout": "float32 NCHW", "value_range": "-1 to 1",
            "colour_order": "RGB", "input_kind": reader,
            "trained_side": json.dumps(self.description.trained_side()), "precision": precision,
            "name": self.options.name, "network": type(self.restorer.network).__name__,
            "parameters": str(self.restorer.parameters), "weights_sha256": self.weights_sha256,
            "exported_by": f"{VERSION} {commit()}".strip()}
        return found | ({"palette": json.dumps(PALETTE.tolist())} if reader == "map_inputs" else {})


def evaluation_faces(options: argparse.Namespace, described: Description, skipped: Skipped) -> Faces:
    """Returns the faces of the evaluation: --dataroot with its references in --gtroot, or made of --gtroot alone."""
    o = options
    if not o.gtroot:
        raise UserError("--dataroot: the files are compared with references: give --gtroot FOLDER, too.")
    if o.dataroot:
        return inputs_of(o.dataroot, "--dataroot", described, o.max_images, skipped, references=o.gtroot)
    found = faces_of(o.gtroot, "--gtroot", described, o.max_images, skipped)
    if not found.has_references:
        raise UserError(f"--gtroot {printable(o.gtroot)}: it has no references; a folder of clean faces is needed.")
    return found


class _Differs(Exception):
    """Makes `replacing` remove a file whose result is wrong."""


def bound_of(form: nn.Module, precision: str) -> Bound:
    """Returns the accepted difference of a file from the network."""
    if precision == "fp16":
        return FLOAT16
    return NORMALISED if any(isinstance(module, nn.InstanceNorm2d) for module in form.modules()) else FLOAT32


def reference_cases(recipe: BaseModel, size: int, batches: list[int]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns [(inputs, what recipe.restore gives for them)], float32 [N, 3, size, size], for each batch size.

    A recipe that normalises by the batch restores each face by itself.
    """
    rng, cases = torch.Generator().manual_seed(0), []
    for count in batches:
        low = torch.rand(count, 3, max(2, size // SCALE), max(2, size // SCALE), generator=rng) * 2 - 1
        low = F.interpolate(low, size=(size, size), mode="bicubic").clamp(-1, 1)
        with torch.no_grad(), recipe.evaluating():
            parts = low.split(1) if restores_by_batch(recipe) else [low]
            cases.append((low.numpy(), torch.cat([recipe.restore(part) for part in parts]).numpy()))
    return cases


def largest_difference(network: Callable[[np.ndarray], np.ndarray],
                       cases: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Returns the largest difference of network(inputs) from the wanted outputs, relative to the largest of these."""
    return max(float(np.abs(network(low) - wanted).max() / np.abs(wanted).max()) for low, wanted in cases)
