# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The scores of an evaluation: as a table to print, as scores.json, and face by face as faces.csv."""
from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engine.evaluate import average
from engine.group_report import grouped, is_worse, markdown
from metrics.perceptual import COMPARED, OF_FACES, summarise, summary_lines
from metrics.prior_maps import PriorMetrics
from metrics.prior_maps import summary_lines as prior_lines
from metrics.protocols import Protocol
from metrics.psnr_ssim import decibels
from utils import strict_json
from utils.files import write_file
from utils.names import printable

COLUMNS = ("restored", "input")  # order within a protocol's columns of faces.csv
NAMED = 8  # files that a line names


class ScoreReport:
    """All scores of an evaluation, averaged.

    names: of the faces. rows: one {metric: values} per face, what engine/evaluate.py's score_faces and the other
    metrics' score return, merged. titles: {'input': ..., 'restored': ...}, of the table's rows. protocols: those of
    PSNR and SSIM. prior_metrics: of the prior maps, or None. absent: lines on metrics that are absent.
    reference_features: of the faces that FID compares with, or None for those of the references.
    """

    def __init__(self, names: Sequence[str], rows: Sequence[Mapping[str, Any]], titles: Mapping[str, str],
                 protocols: Sequence[Protocol], prior_metrics: PriorMetrics | None, absent: Sequence[str],
                 reference_features: np.ndarray | None = None) -> None:
        self.names, self.rows, self.titles = names, rows, titles
        self.prior_metrics = prior_metrics
        self.scored = [p for p in protocols if rows and p.name in rows[0]]  # none without references
        self.protocols = {p.name: {which: average(rows, p.name, which) for which in COMPARED} for p in self.scored}
        self.priors = prior_metrics.summarise(rows) if prior_metrics else {}
        self.summary, no_summary = summarise(rows, reference_features)
        self.absent = [*absent, *no_summary]

    @property
    def has_references(self) -> bool:
        """Whether any face was compared with a reference under the protocols of PSNR and SSIM."""
        return bool(self.protocols)

    def worse(self) -> dict[str, list[str]]:
        """Returns {protocol: names of the faces whose PSNR became lower by restoring, the greatest loss first}."""
        found = {}
        for protocol in self.protocols:
            losses = {name: row[protocol]["input"].psnr - row[protocol]["restored"].psnr
                      for name, row in zip(self.names, self.rows, strict=True) if is_worse(row[protocol])}
            if losses:
                found[protocol] = sorted(losses, key=losses.__getitem__, reverse=True)
        return found

    def by_gain(self) -> list[str]:
        """Returns the names of the faces by their gain in dB under the first protocol, the smallest first."""
        protocol = next(iter(self.protocols))
        gains = {name: row[protocol]["restored"].psnr - row[protocol]["input"].psnr
                 for name, row in zip(self.names, self.rows, strict=True)}
        return sorted((name for name, gain in gains.items() if not math.isnan(gain)), key=gains.__getitem__)

    def is_empty(self) -> bool:
        """Whether nothing was scored."""
        return not self.protocols and not self.summary

    def identical(self) -> dict[str, dict[str, list[str]]]:
        """Returns {protocol: {'input' or 'restored': names of faces}}: faces whose PSNR is infinite.

        They are identical to their references under that protocol, and left out of its mean PSNR.
        """
        found: dict[str, dict[str, list[str]]] = {}
        for protocol in self.protocols:
            for which in COMPARED:
                names = [name for name, row in zip(self.names, self.rows, strict=True)
                         if math.isinf(row[protocol][which].psnr)]
                if names:
                    found.setdefault(protocol, {})[which] = names
        return found

    def lines(self) -> list[str]:
        """Returns the table and what belongs to it, for the log."""
        protocols = self.protocols
        lines = [f"\n{len(self.rows)} faces        " + "".join(f"{p:>22}" for p in protocols)]
        if protocols:
            for which in COMPARED:
                lines.append(f"{self.titles[which]:20}" + "".join(
                    f"{decibels(protocols[p][which].psnr):>13} / {protocols[p][which].ssim:.4f}" for p in protocols))
            lines.append(f"{'gain in dB':20}" + "".join(
                f"{'none' if gain['psnr'] is None else format(gain['psnr'], '+.4f'):>13}         "
                for gain in self.gains().values()) + "\n")
        for protocol, faces in self.identical().items():
            for which, names in faces.items():
                rest = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
                lines.append(f"{self.titles[which]}, protocol {protocol}: identical to the reference, PSNR infinite, "
                             f"left out of the mean PSNR: {', '.join(map(printable, names[:NAMED]))}{rest}")
        for protocol, names in self.worse().items():
            rest = " ..." if len(names) > NAMED else ""
            lines.append(f"warning: {len(names)} of {len(self.rows)} faces came out worse than they went in (PSNR, "
                         f"protocol {protocol}); most: {', '.join(map(printable, names[:NAMED]))}{rest}")
        lines += self._protocol_notes()
        return [*lines, *prior_lines(self.priors), *self.absent,
                *summary_lines(self.summary, len(self.rows), self.titles)]

    def accuracy_line(self) -> str:
        """Returns the line that test/common.sh reads the PSNR from: of the table's first protocol."""
        protocol, scores = next(iter(self.protocols.items()))
        gain = self.gains()[protocol]
        of_both = (f"; gain of the {gain['faces']} faces that have both: {gain['psnr']:+.4f} dB"
                   if 0 < gain["faces"] < len(self.rows) else "")
        return (f"Accuracy: {decibels(scores['restored'].psnr)} dB PSNR, {self.titles['input']} "
                f"{decibels(scores['input'].psnr)} dB (protocol {protocol}){of_both}")

    def _protocol_notes(self) -> list[str]:
        """Returns lines on what is left out of the comparison, and on what the written images would score."""
        notes = [f"protocol {p.name}: {p.crop} pixels cropped from each side" for p in self.scored
                 if p.sets_crop and p.crop]
        truncating = ", ".join(p.name for p in self.scored if p.rounding == "truncate")
        if truncating:
            notes.append(f"note: the images in restored/ are rounded; {truncating} truncate: PSNR computed from the "
                         "files differs by about 0.01 dB")
        return notes

    def gains(self) -> dict[str, dict[str, float | int | None]]:
        """Returns {protocol: {'psnr': mean gain in dB, 'faces': their number}}, of the faces with both PSNR values.

        The means of input and output may be of different faces (identical), so their difference is no gain. None if
        there are no such faces.
        """
        found: dict[str, dict[str, float | int | None]] = {}
        for protocol in self.protocols:
            rows = [row for row in self.rows if all(math.isfinite(row[protocol][which].psnr) for which in COMPARED)]
            restored, given = (average(rows, protocol, which).psnr if rows else None for which in ("restored", "input"))
            found[protocol] = {"psnr": restored - given if rows else None, "faces": len(rows)}
        return found

    def write_json(self, path: Path, about: Mapping[str, Any]) -> None:
        """Writes scores.json: the means, and what `about` says of the evaluation. An infinite PSNR becomes null."""
        report = {"faces": len(self.rows),
                  "protocols": {p: {which: scores._asdict() for which, scores in table.items()}
                                for p, table in self.protocols.items()},
                  "gain": self.gains(), "crop_border": {p.name: p.crop for p in self.scored},
                  "identical": self.identical(),
                  "worse": self.worse(),
                  "priors": self.priors, **self.summary, **about}
        write_file(path, strict_json.dumps(report, indent=1) + "\n")

    def write_groups(self, path: Path) -> None:
        """Writes the scores of each group of faces; the rows hold 'groups' (metrics/face_groups.py)."""
        write_file(path, markdown(grouped(self.rows, list(self.protocols))))

    def write_csv(self, path: Path) -> None:
        """Writes faces.csv: the scores of every face. A PSNR may be inf, a metric that a face has none of is empty."""
        of_pictures = [metric for metric in OF_FACES if metric in self.summary]
        of_priors = self.prior_metrics.columns if self.prior_metrics else []
        lines = io.StringIO(newline="")
        table = csv.writer(lines)
        table.writerow(["file", *(f"{p}_{which}_{metric}" for p in self.protocols for which in COLUMNS
                                  for metric in ("psnr", "ssim")),
                        *(f"{metric}_{which}" for metric in of_pictures for which in COMPARED), *of_priors])
        for name, row in zip(self.names, self.rows, strict=True):
            table.writerow([name, *(value for p in self.protocols for which in COLUMNS for value in row[p][which]),
                            *(row[metric][which] for metric in of_pictures for which in COMPARED),
                            *(self.prior_metrics.cells(row) if of_priors else [])])
        write_file(path, lines.getvalue())
