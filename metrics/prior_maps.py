# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""How well a network knows the face it restores: errors of landmarks and overlap of parts, from its prior maps."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from data.prior_folder import PriorFolder
from metrics.psnr_ssim import mean
from utils.errors import UserError


def decode_heatmaps(maps: np.ndarray) -> np.ndarray:
    """float64 [N, L, 2], the (x, y) of each heatmap's peak in pixels: [N, L, H, W], any range, the peak highest.

    The highest pixel, and between pixels the top of the parabola through it and its two neighbours, along x and y.
    """
    maps = np.asarray(maps, np.float64)
    height, width = maps.shape[2:]
    highest = maps.reshape(*maps.shape[:2], -1).argmax(2)
    y, x = np.divmod(highest, width)
    n, k = np.ogrid[:maps.shape[0], :maps.shape[1]]

    def top(before, at, after):
        bend = 2 * at - before - after
        return np.where(bend > 0, (after - before) / (2 * np.maximum(bend, 1e-9)), 0).clip(-0.5, 0.5)
    at = maps[n, k, y, x]
    left, right = maps[n, k, y, np.maximum(x - 1, 0)], maps[n, k, y, np.minimum(x + 1, width - 1)]
    above, below = maps[n, k, np.maximum(y - 1, 0), x], maps[n, k, np.minimum(y + 1, height - 1), x]
    inside_x, inside_y = (x > 0) & (x < width - 1), (y > 0) & (y < height - 1)
    return np.stack([x + np.where(inside_x, top(left, at, right), 0),
                     y + np.where(inside_y, top(above, at, below), 0)], axis=2)


def landmark_errors(estimated: np.ndarray, true: np.ndarray, eyes: tuple[slice, slice]) -> list[float | None]:
    """[error of each face]: mean distance of the landmarks over the distance of the eyes' centres; None without eyes.

    Eyes at one point count as none. estimated, true: heatmaps [N, L, H, W] in [-1, 1]. eyes: two slices of the L
    points. Landmarks outside the picture, whose true heatmap stays below a half, do not count.
    """
    points, references = decode_heatmaps(estimated), decode_heatmaps(true)
    seen = np.asarray(true).max((2, 3)) > 0
    errors = []
    for found, wanted, visible in zip(points, references, seen, strict=True):
        one, other = (wanted[eye].mean(0) for eye in eyes)
        if not all(visible[eye].all() for eye in eyes):
            errors.append(None)
            continue
        distances = np.linalg.norm(found - wanted, axis=1)[visible]
        between = np.linalg.norm(one - other)
        errors.append(float(distances.mean() / between) if between else None)
    return errors


def parsing_overlaps(estimated: np.ndarray, true: np.ndarray) -> list[list[float | None]]:
    """[[intersection over union of each part] of each face] of maps [N, C, H, W] in [-1, 1], inside being above 0.

    None for a part that neither shows.
    """
    estimated, true = np.asarray(estimated) > 0, np.asarray(true) > 0
    both, any_of_them = (estimated & true).sum((2, 3)), (estimated | true).sum((2, 3))
    return [[float(b / a) if a else None for b, a in zip(*face, strict=True)]
            for face in zip(both, any_of_them, strict=True)]


class PriorMetrics:
    """The metrics of a network's prior maps against those that `dataset` gives its faces.

    kinds: which ones the dataset gives, as --priors names them. maps: the network's counts of heatmaps and parsing
    maps. Raises UserError if the two counts differ. columns: the metrics' names in faces.csv.
    """

    def __init__(self, dataset: type[PriorFolder], kinds: str | None, maps: tuple[int, int]) -> None:
        self.heatmaps = maps[0]
        self.eyes = dataset.point_set.eyes if dataset.point_set else None
        names = dataset.prior_names(kinds)
        self.parts = [name for name in names if name in dataset.parsing_names]
        given = len(names) - len(self.parts), len(self.parts)
        if given != tuple(maps):
            raise UserError(f"the network estimates {maps[0]} heatmaps and {maps[1]} parsing maps, --dataset_name and "
                            f"--priors give {given[0]} and {given[1]}.")
        self.columns = [name for name, maps in (("landmark_error", self.heatmaps), ("parsing_iou", self.parts)) if maps]

    def score(self, estimated: np.ndarray, true: np.ndarray) -> list[dict[str, Any]]:
        """Returns [{'landmark_error': share of the eyes' distance or None, 'parsing_iou': [of each part or None]}].

        One row per face. estimated: float [N, C, H, W] in [-1, 1]. true: uint8 [N, H, W, C], as the dataset gives it.
        """
        true = np.moveaxis(true, 3, 1) / 127.5 - 1
        rows = [{} for _ in estimated]
        if self.heatmaps and rows:
            errors = landmark_errors(estimated[:, :self.heatmaps], true[:, :self.heatmaps], self.eyes)
            for row, error in zip(rows, errors, strict=True):
                row["landmark_error"] = error
        if self.parts and rows:
            overlaps = parsing_overlaps(estimated[:, self.heatmaps:], true[:, self.heatmaps:])
            for row, overlap in zip(rows, overlaps, strict=True):
                row["parsing_iou"] = overlap
        return rows

    def cells(self, row: Mapping[str, Any]) -> list[float | None]:
        """A face's values for self.columns, of its row of `score`: the landmark error, the mean over the parts' IoU.

        None where there is nothing to measure against: no eyes within the picture, none of the parts.
        """
        shown = [value for value in row.get("parsing_iou", ()) if value is not None]
        values = {"landmark_error": row.get("landmark_error"), "parsing_iou": mean(shown) if shown else None}
        return [values[column] for column in self.columns]

    def summarise(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """{'landmark_error': mean over faces, 'faces', 'parsing_iou': {part: mean over the faces that show it, 'mean':
        over parts}} as far as there are any."""
        summary = {}
        errors = [row["landmark_error"] for row in rows if row.get("landmark_error") is not None]
        if errors:
            summary |= {"landmark_error": mean(errors), "faces": len(errors)}
        if self.parts:
            table = {}
            for place, part in enumerate(self.parts):
                found = [row["parsing_iou"][place] for row in rows if row["parsing_iou"][place] is not None]
                if found:
                    table[part] = mean(found)
            if table:
                summary["parsing_iou"] = table | {"mean": mean(table.values())}
        return summary


def summary_lines(summary: Mapping[str, Any]) -> list[str]:
    """PriorMetrics.summarise's numbers for the log."""
    lines = []
    if "landmark_error" in summary:
        lines.append(f"landmark error               {summary['landmark_error']:.4f} of the eyes' distance "
                     f"({summary['faces']} faces)")
    if "parsing_iou" in summary:
        parts = "  ".join(f"{part} {value:.2f}" for part, value in summary["parsing_iou"].items() if part != "mean")
        lines.append(f"parsing, overlap (IoU)       {summary['parsing_iou']['mean']:.4f} mean over parts: {parts}")
    return lines
