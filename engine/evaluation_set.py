# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Which faces newtest.py restores, and what they are compared with: one decision, from its options."""
from __future__ import annotations

import argparse
from dataclasses import dataclass, field

from data import accepted, find_dataset, input_reader, trained_side
from data.face_folder import FaceFolder
from engine.results_folder import output_folders
from metrics.prior_maps import PriorMetrics
from utils.errors import UserError

ABSENT = "landmark error and parsing overlap absent: "


@dataclass(frozen=True)
class EvaluationSet:
    """The faces of one evaluation.

    faces           dataset whose samples hold 'lr', and 'hr' where there are references
    prior_metrics   of faces with prior maps that the network estimates, or None
    absent          lines that say why there are no prior metrics; empty for a network without prior maps
    """
    faces: FaceFolder
    prior_metrics: PriorMetrics | None = None
    absent: list[str] = field(default_factory=list)


def choose_faces(options: argparse.Namespace, prior_maps: tuple[int, int] | None) -> EvaluationSet:
    """Returns the faces that newtest.py's options mean.

    --dataroot: its pictures are restored, and compared with those of the same names in --gtroot. Without it
    --dataset_name and --degradation make the inputs of the faces in --gtroot.
    prior_maps: counts of the (heatmaps, parsing maps) that the network estimates, or None.
    A damaged picture gives no sample, so that the others can be restored.
    Raises UserError for folders without pictures and for a dataset that makes no inputs.
    """
    o = options
    dataset = find_dataset(o.dataset_name)
    common = {"load_size": o.load_size, "min_size": o.min_size, "on_bad_image": "stop"}
    leave_out = output_folders(o)
    references = dataset.list_faces(o.gtroot, "--gtroot", leave_out=leave_out) if o.gtroot else None
    if o.dataroot:
        reader = input_reader(o.dataset_name, o.degradation)
        paths = reader.list_faces(o.dataroot, "--dataroot", leave_out=leave_out)
        side = trained_side(o.dataset_name, o.degradation, o.load_size, o.scale_factor)
        faces = reader(paths[:o.max_images], references=references, trained_side=side, **common)
        why = "they are measured on --gtroot alone, without --dataroot." if references and prior_maps else None
        return EvaluationSet(faces, absent=[ABSENT + why] if why else [])
    if not dataset.trains:
        raise UserError(f"--dataset_name {o.dataset_name} reads faces to restore and makes none: give "
                        f"--dataroot, or another --dataset_name.")
    common |= {"scale_factor": o.scale_factor, "degradation": o.degradation, "augmentation": "none"}

    def faces(priors):
        return dataset(references[:o.max_images], **accepted(dataset, priors=priors, **common))
    if not (prior_maps and dataset.takes_priors):
        why = f"--dataset_name {o.dataset_name} has no priors." if prior_maps else None
        return EvaluationSet(faces("none"), absent=[ABSENT + why] if why else [])
    try:
        metrics = PriorMetrics(dataset, o.priors, prior_maps)
        return EvaluationSet(faces(o.priors), metrics)
    except UserError as error:
        return EvaluationSet(faces("none"), absent=[f"{ABSENT}{error}"])
