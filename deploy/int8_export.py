# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The int8 files of an export: calibration, sensitivity, and one QDQ file for each runtime (deploy/int8.py)."""
from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch

from deploy import int8
from deploy.calibration import choose_ranges, collect
from deploy.choices import FEWEST
from deploy.faces import Faces, evenly, faces_of
from metrics.psnr_ssim import mean_psnr, score
from restore.description import Description
from utils import strict_json
from utils.errors import UserError
from utils.files import write_file
from utils.images import Skipped
from utils.onnx_file import DIGEST, checked_content

PROTOCOL = "rgb"  # of the sensitivity: it fits every size and task
RECORD = "calibration.json"
SUFFIXES = {"onnxruntime": "_int8.onnx", "openvino": "_int8_openvino.onnx"}


class Calibrated(NamedTuple):
    """ranges: {tensor: (low, high)}. sensitivity: of each convolution, empty if it was not measured.

    kept: convolutions that stay in float. faces: those of the calibration. method: one of calibration.METHODS.
    """
    ranges: Mapping[str, tuple[float, float]]
    sensitivity: list[int8.Sensitivity]
    kept: list[str]
    faces: Faces
    method: str


class Int8Export:
    """Writes the int8 files of one float32 ONNX model, from newexport.py's options.

    Raises UserError for a calibration folder that is missing or has too few faces: before anything is written.
    """

    def __init__(self, options: argparse.Namespace, described: Description, skipped: Skipped) -> None:
        self.options = o = options
        if "onnx" not in o.formats:
            raise UserError("--precision int8 is for --formats onnx only: TorchScript and torch.export files have no "
                            "int8 form.")
        if not o.calibroot:
            raise UserError("--precision int8 needs faces for the calibration: --calibroot FACES, a folder of some "
                            "hundred faces like those of the training, or a list (.txt) of .npz, .npy or .bin inputs.")
        self.faces = faces_of(o.calibroot, "--calibroot", described, o.calibration_faces, skipped, FEWEST)
        self.bits = int8.choose_weight_bits() if o.weight_bits is None else o.weight_bits
        warning = int8.saturation_warning(self.bits)
        if warning:
            print(f"warning: --weight_bits {self.bits}: {warning}", flush=True)

    def write(self, content: bytes, folder: Path) -> tuple[list[dict[str, Any]], Calibrated]:
        """Writes both files and RECORD into `folder`; returns (the files' rows of export.json, what was chosen).

        content: the float32 model. Its metadata says already that the precision is int8.
        """
        o = self.options
        model = onnx.load_from_string(content)
        print(f"Calibrating with {len(self.faces)} faces ({o.calibration}, {self.bits}-bit weights)", flush=True)
        ranges = choose_ranges(collect(model, self.faces, int8.calibrated_tensors(model)), o.calibration)
        found = self._sensitivity(model, ranges)
        kept = int8.kept_in_float(found, o.sensitive)
        layers = [name for name in int8.convolutions(model) if name not in kept]
        write_file(folder / RECORD, strict_json.dumps({
            "method": o.calibration, "weight_bits": self.bits, "faces": self.faces.names,
            "float_layers": kept, "sensitivity": [row._asdict() for row in found],
            "ranges": {tensor: list(ends) for tensor, ends in ranges.items()}}, indent=1) + "\n")
        rows = []
        for form, suffix in SUFFIXES.items():
            quantized = int8.quantize(model, ranges, weight_bits=self.bits, form=form, layers=layers)
            properties = {entry.key: entry.value for entry in model.metadata_props if entry.key != DIGEST}
            onnx.helper.set_model_props(quantized, properties | {
                "calibration": o.calibration, "weight_bits": str(self.bits), "float_layers": str(len(kept)),
                "made_for": form})
            onnx.checker.check_model(quantized)
            data = checked_content(quantized.SerializeToString())
            path = folder / f"{o.name}{suffix}"
            write_file(path, data)
            print(f"{path.name}: {len(data) / 1e6:.2f} MB, {len(layers)} of {len(layers) + len(kept)} convolutions in "
                  f"int8, for {form}", flush=True)
            rows.append({"file": path.name, "format": "onnx", "precision": "int8", "bytes": len(data), "for": form,
                         "kept": True})
        return rows, Calibrated(ranges, found, kept, self.faces, o.calibration)

    def _sensitivity(self, model, ranges):
        """Returns the Sensitivity of each convolution, and prints the largest; [] without references or if turned off.
        """
        if not self.options.sensitivity_faces:
            return []
        if not self.faces.has_references:
            print("note: --calibroot has no references (a list of inputs): the layers' sensitivity is not measured, "
                  "all become int8.", flush=True)
            return []
        places = evenly(self.options.sensitivity_faces, len(self.faces))
        found = int8.sensitivities(model, ranges, scorer(self.faces, places), weight_bits=self.bits)
        print(f"Sensitivity, {len(places)} faces: the layers that lose most when quantised alone", flush=True)
        for row in found[:5]:
            print(f"  {row.loss:+.4f} dB  {row.layer}", flush=True)
        return found


def scorer(faces: Faces, places: Any) -> Callable[[Callable[[np.ndarray], np.ndarray]], float]:
    """Returns the function from a network on arrays to its mean PSNR over these faces."""
    pairs = [(faces[place], faces.reference(place)) for place in places]
    return lambda run: mean_psnr(score(torch.from_numpy(run(low)), high, PROTOCOL).psnr for low, high in pairs)
