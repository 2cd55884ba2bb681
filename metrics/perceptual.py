# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""LPIPS, identity similarity and FID beside PSNR: those whose weights were given, the others absent with a reason.

All compare the pictures as they are written (uint8) with the references, and the network's inputs as well.
"""
from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

import utils.device
from metrics.identity import IdentitySimilarity
from metrics.inception import INCEPTION_ADDRESS, load_inception
from metrics.psnr_ssim import mean
from models import lpips
from models.values import IR_SE50_ADDRESS
from utils.errors import UserError
from utils.images import to_tensor_range

COMPARED = ("input", "restored")  # what is compared with the references, as in engine/evaluate.py: score_faces
# Metrics of single faces, by their keys in the scores, with the titles of the printed table.
OF_FACES = {"lpips": "LPIPS (less is better)", "st_lpips_alexnet": "ST-LPIPS, AlexNet (less)",
            "st_lpips_vgg16": "ST-LPIPS, VGG16 (less)", "identity": "identity similarity"}
FEW_FACES = 2048  # rows of FID's covariance; with fewer faces FID depends on their number


class PerceptualMetrics:
    """The metrics that newtest.py's options give weights for. Raises UserError for weights that do not fit.

    lpips, st_lpips_*: distance to the reference [0, about 1], less is better (models/lpips.py).
    identity: cosine to the reference in [-1, 1], more is better (metrics/identity.py).
    fid: distance of the restored faces' distribution to the reference faces', less is better (Heusel et al. 2017).
    absent: one line per metric without weights, with the reason.
    """

    def __init__(self, options: argparse.Namespace, device: torch.device) -> None:
        self.device = device
        if options.lpips_path and options.load_size < lpips.SMALLEST:
            raise UserError(f"--lpips_path: LPIPS needs {lpips.SMALLEST} pixels or more, --load_size is "
                            f"{options.load_size}.")
        self.lpips = lpips.load_lpips(options.lpips_path).to(device) if options.lpips_path else None
        self.identity = IdentitySimilarity(options.identity_path, device) if options.identity_path else None
        self.inception = None
        if options.fid_path:
            self.inception = load_inception(options.fid_path)
            self.inception.to(device, memory_format=utils.device.memory_format(device))
        asked = {"LPIPS": (self.lpips, "--lpips_path",
                           f"AlexNet, {lpips.ALEXNET_ADDRESS}, or {lpips.SHIFT_TOLERANT_SOURCE}"),
                 "identity similarity": (self.identity, "--identity_path", f"MobileFaceNet or {IR_SE50_ADDRESS}"),
                 "FID": (self.inception, "--fid_path", f"Inception, {INCEPTION_ADDRESS}")}
        self.absent = [f"{name} absent: no {option} FILE was given ({source})."
                       for name, (net, option, source) in asked.items() if net is None]

    def score(self, inputs: np.ndarray, restored: np.ndarray,
              references: np.ndarray | None) -> list[dict[str, dict[str, Any]]]:
        """Returns [{metric: {'input': value, 'restored': value}}], one per face.

        All: uint8 [N, H, W, 3], RGB; references: None if there are none. FID's values are the features of the faces,
        and under 'reference' those of the reference.
        """
        if not len(inputs):
            return []
        pictures = {"input": inputs, "restored": restored}
        rows = [{} for _ in inputs]
        if references is not None:
            if self.lpips:
                for which in COMPARED:
                    _add(rows, self.lpips.name, which, self._lpips(pictures[which], references))
            if self.identity:
                found = self.identity(list(references), *(list(pictures[which]) for which in COMPARED))
                for which, values in zip(COMPARED, found, strict=True):
                    _add(rows, "identity", which, values)
            pictures["reference"] = references
        if self.inception:
            for which, faces in pictures.items():
                _add(rows, "fid", which, self.features(faces))
        return rows

    @torch.no_grad()
    def _lpips(self, pictures: np.ndarray, references: np.ndarray) -> list[float]:
        return self.lpips(self._tensor(pictures), self._tensor(references)).tolist()

    @torch.no_grad()
    def features(self, pictures: np.ndarray) -> np.ndarray:
        """Returns float32 [N, 2048] of uint8 [N, H, W, 3]: what FID compares."""
        return self.inception(self._tensor(pictures)).cpu().numpy()

    def _tensor(self, pictures: np.ndarray) -> torch.Tensor:
        return to_tensor_range(torch.from_numpy(np.ascontiguousarray(pictures)).to(self.device))


def _add(rows: list[dict[str, dict[str, Any]]], metric: str, which: str, values: Iterable[Any]) -> None:
    """Adds one value per face to the faces' rows."""
    for row, value in zip(rows, values, strict=True):
        row.setdefault(metric, {})[which] = value


def summarise(rows: Sequence[Mapping[str, Any]], reference_features: np.ndarray | None = None
              ) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Returns ({metric: {'input': value, 'restored': value, 'faces': count}}, lines on metrics that are absent).

    rows: those of PerceptualMetrics.score. reference_features: of the faces that FID compares with, [M, 2048]; None:
    of the references in the rows. FID is absent if too few faces could be read.
    """
    summary, absent = {}, []
    for metric in OF_FACES:
        found = [row[metric] for row in rows if metric in row and row[metric]["restored"] is not None]
        if found:
            summary[metric] = {which: mean([f[which] for f in found]) for which in COMPARED} | {"faces": len(found)}
    features = [row["fid"] for row in rows if "fid" in row]
    if features and reference_features is None and "reference" in features[0]:
        reference_features = np.stack([f["reference"] for f in features])
    if features and reference_features is not None:
        from metrics.fid import fid  # not at the top: torchmetrics takes a second to import
        try:
            found = {which: fid(reference_features, np.stack([f[which] for f in features])) for which in COMPARED}
            summary["fid"] = found | {"faces": len(features), "reference_faces": len(reference_features)}
        except UserError as error:
            absent.append(f"FID absent: {error}")
    return summary, absent


def summary_lines(summary: Mapping[str, Mapping[str, float]], faces: int, titles: Mapping[str, str]) -> list[str]:
    """Returns the table of summarise's numbers over so many `faces`; titles: {one of COMPARED: its column's title}."""
    if not summary:
        return []
    lines = [f"{'':28}{titles['input']:>12}{titles['restored']:>22}"]
    for metric, title in (OF_FACES | {"fid": "FID (less is better)"}).items():
        if metric not in summary:
            continue
        row = summary[metric]
        note = ""
        if metric == "identity" and row["faces"] < faces:
            note = f"   (a face was found in {row['faces']} of {faces})"
        elif metric == "fid":
            note = f"   ({row['faces']} faces against {row['reference_faces']}"
            note += f"; below {FEW_FACES} it depends on their number)" if min(
                row["faces"], row["reference_faces"]) < FEW_FACES else ")"
        lines.append(f"{title:28}{row['input']:>12.4f}{row['restored']:>22.4f}{note}")
    return lines
