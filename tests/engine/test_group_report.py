# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Scores by groups of faces, and faces that came out worse, are those computed by hand."""
import csv
import json
import math

import numpy as np
import pytest

from data import find_dataset
from data.drawn.builtin_faces import write_faces as draw_faces
from data.face_folder import Place
from engine.group_report import grouped, markdown
from metrics.face_groups import FaceGroups, size_group
from metrics.psnr_ssim import Score
from tests.helpers.runs import restore
from utils.errors import UserError
from utils.images import grid, list_images, read_rgb, resize, save_image


def row(before, after, **groups):
    return {"rgb": {"input": Score(before, 0.5), "restored": Score(after, 0.5)}, "groups": groups}


def test_means_are_over_faces_that_have_both_values():
    rows = [row(20.0, 23.0, pose="turned"), row(22.0, 21.0, pose="turned"), row(math.inf, 30.0, pose="turned"),
            row(24.0, 24.0, pose="frontal"), row(math.inf, math.inf, pose="half turned")]
    frontal, half, turned = grouped(rows, ["rgb"])
    assert (frontal.name, frontal.faces, frontal.input, frontal.restored, frontal.worse) == ("frontal", 1, 24, 24, 0)
    assert (half.name, half.input, half.restored, half.worse) == ("half turned", None, None, 0)
    assert (turned.faces, turned.input, turned.restored, turned.worse) == (3, 21.0, 22.0, 2)
    assert "| pose | turned | 3 (few) | 21.00 | 22.00 | +1.00 | 2 |\n" in markdown([turned])
    assert "| pose | half turned | 1 (few) |  |  |  | 0 |\n" in markdown([half])


def test_faces_that_newtest_degrades_are_grouped_by_what_it_drew(tmp_path, weights):
    draw_faces(tmp_path / "faces", 12, 0, size=64)
    faces = tmp_path / "faces" / "images"
    options = ["--gtroot", faces, "--report", "--protocols", "rgb"]
    report = (restore(tmp_path, weights[0], *options, "--dataset_name", "face128") / "report.md").read_text()
    dataset = find_dataset("face128")(list_images(str(faces), ""), load_size=32, augmentation="none")
    drawn = [dataset[Place(0, index)]["drawn"] for index in range(12)]
    for kind, names in {"size": [size_group(values["low_size"]) for values in drawn], "degradation": [
            ", ".join(name for step, name in (("blur", "blur"), ("noise", "noise"), ("quality", "JPEG"))
                      if step in values) or "none" for values in drawn]}.items():
        assert len(set(names)) > 1 and report.count(f"| {kind} |") == len(set(names))
        for name in set(names):
            assert f"| {kind} | {name} | {names.count(name)} (few) |" in report
    plain = (restore(tmp_path, weights[0], *options) / "report.md").read_text()  # one size, and nothing is drawn
    assert "| degradation |" not in plain and "| size |" not in plain


def test_newtest_reports_groups_and_faces_that_came_out_worse(tmp_path, weights, capsys):
    draw_faces(tmp_path / "faces", 4, 0, size=64)
    faces = tmp_path / "faces" / "images"
    paths = sorted(faces.iterdir())
    for path, size in zip(paths, (4, 4, 14, 32), strict=True):
        image = np.asarray(resize(read_rgb(path), size))
        save_image(image, tmp_path / "inputs" / path.name)
    folder = restore(tmp_path, weights[0], "--gtroot", faces, "--dataroot", tmp_path / "inputs", "--report",
                     "--protocols", "rgb", "benchmark")
    report = (folder / "report.md").read_text(encoding="utf-8")
    scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    assert report.count("| size | up to 12 pixels | 2 (few) |") == report.count("protocol") == 2
    assert report.count("| size | 13 to 16 pixels | 1 (few) |") == 2
    references = [np.asarray(resize(read_rgb(path), 32)) for path in paths]  # the network's size
    poses = [groups["pose"] for groups in FaceGroups()(references)]
    for pose in set(poses):
        assert report.count(f"| pose | {pose} | {poses.count(pose)} (few) |") == 2
    # The weights are random numbers: every face comes out worse.
    assert {protocol: set(names) for protocol, names in scores["worse"].items()} == {
        protocol: {path.name for path in paths} for protocol in ("benchmark", "rgb")}
    with open(folder / "faces.csv", encoding="utf-8", newline="") as file:
        gains = {found["file"]: float(found["benchmark_restored_psnr"]) - float(found["benchmark_input_psnr"])
                 for found in csv.DictReader(file)}
    worst = [[np.asarray(resize(read_rgb(folder_of / name), 32)) for folder_of in (
        tmp_path / "inputs", folder / "restored", faces)] for name in sorted(gains, key=gains.get)]
    shown = np.asarray(read_rgb(folder / "worst.png"))
    assert np.array_equal(shown, grid(worst, titles=["LR", "SR", "HR"]))
    assert "warning: 4 of 4 faces came out worse than they went in (PSNR, protocol rgb)" in capsys.readouterr().out


def test_groups_need_references(tmp_path, weights):
    draw_faces(tmp_path / "faces", 1, 0, size=64)
    with pytest.raises(UserError, match="--report is not read here: without --gtroot nothing is scored"):
        restore(tmp_path, weights[0], "--dataroot", tmp_path / "faces", "--report")
