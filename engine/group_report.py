# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The scores of an evaluation by groups of faces: report.md (newtest.py --report)."""
from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from metrics.face_groups import ORDER
from metrics.psnr_ssim import mean_psnr

ABOUT = """# Scores by groups of faces

Groups follow from the reference pictures (metrics/face_groups.py): skin tone is the typology angle of the cheeks,
which the light of the photo changes, too; pose follows from the nose between the eyes; cut is the distance of the eyes
in sides of the picture. Size is the shorter side of the restored picture on disk, or of the small face that newtest.py
made of the reference; degradation is what it drew for this face beside the size.

"""
FEW = 30  # faces: with fewer the mean of a group says little


class Group(NamedTuple):
    """Faces of one group under one protocol. PSNR in dB, means; worse: faces whose PSNR became lower by restoring."""
    kind: str
    name: str
    protocol: str
    faces: int
    input: float | None
    restored: float | None
    worse: int


def grouped(rows: Sequence[Mapping[str, Any]], protocols: Sequence[str]) -> list[Group]:
    """Returns the groups of the faces' rows, which hold {protocol: {'input', 'restored': Score}} and 'groups'."""
    return [Group(kind, name, protocol, len(members), *_means(members, protocol),
                  sum(is_worse(row[protocol]) for row in members))
            for kind, name, members in _members(rows) for protocol in protocols]


def _members(rows) -> Iterator[tuple[str, str, list[Mapping[str, Any]]]]:
    for kind, names in ORDER.items():
        for name in names:
            members = [row for row in rows if row["groups"].get(kind) == name]
            if members:
                yield kind, name, members


def _means(rows, protocol):
    """Returns the mean PSNR of (input, restored) over the faces that have both; (None, None) if there are none."""
    pairs = [(row[protocol]["input"].psnr, row[protocol]["restored"].psnr) for row in rows]
    finite = [pair for pair in pairs if all(map(math.isfinite, pair))]
    return tuple(map(mean_psnr, zip(*finite, strict=True))) if finite else (None, None)


def is_worse(scores: Mapping[str, Any]) -> bool:
    """Returns whether restoring lowered the PSNR; scores: {'input', 'restored': Score}."""
    return scores["restored"].psnr < scores["input"].psnr


def markdown(groups: Sequence[Group]) -> str:
    """Returns one table per protocol, with what the groups mean."""
    parts = [ABOUT]
    for protocol in dict.fromkeys(group.protocol for group in groups):
        parts.append(f"PSNR in dB, protocol {protocol}\n\n| group | | faces | input | restored | gain | worse than the "
                     "input |\n|---|---|---|---|---|---|---|\n")
        for group in (group for group in groups if group.protocol == protocol):
            gain = "" if group.restored is None else f"{group.restored - group.input:+.2f}"
            few = " (few)" if group.faces < FEW else ""
            parts.append(f"| {group.kind} | {group.name} | {group.faces}{few} | {_cell(group.input)} | "
                         f"{_cell(group.restored)} | {gain} | {group.worse} |\n")
        parts.append("\n")
    return "".join(parts)


def _cell(psnr):
    return "" if psnr is None else f"{psnr:.2f}"
