# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Landmark error and parsing overlap: their definitions, and newtest.py's report for faces with exact priors."""
import csv
import json
import re
import shutil

import numpy as np
import pytest
import torch

from data.builtin_dataset import BuiltinDataset
from data.drawn.builtin_faces import write_faces
from data.face_folder import Place
from data.face_parts import POINTS_68, POINTS_194
from data.priors import heatmaps
from engine import checkpoint, run_folder
from metrics.prior_maps import PriorMetrics, decode_heatmaps, landmark_errors, parsing_overlaps
from models import build_training_recipe
from options.train_options import parse_train
from tests.helpers.runs import restore
from utils.errors import UserError
from utils.images import to_tensor_range

SMALL = ["--preset", "fsrnet_builtin", "--load_size", "32", "--width", "8", "--enc_blocks", "1", "--priors", "both",
         "--hmaps_ch", "68"]


def maps_of(points, size=64):
    """Returns heatmaps [1, L, size, size] in [-1, 1], as a dataset does."""
    return np.moveaxis(heatmaps(points, size), 2, 0)[None] / 127.5 - 1


def test_peaks_are_found_between_pixels():
    points = np.random.default_rng(0).uniform(6, 57, (50, 2)).astype(np.float32)
    assert np.abs(decode_heatmaps(maps_of(points))[0] - points).max() < 0.05
    edge = np.array([[0, 0], [63, 63], [0, 30]], np.float32)
    assert np.array_equal(decode_heatmaps(maps_of(edge))[0], edge)


@pytest.mark.parametrize("point_set", [POINTS_68, POINTS_194])
def test_landmark_error_is_the_distance_over_that_of_the_eyes(point_set):
    points = np.random.default_rng(1).uniform(10, 50, (point_set.count, 2)).astype(np.float32)
    for eye, centre in zip(point_set.eyes, ((40, 20), (20, 20)), strict=True):
        points[eye] = centre
    moved = points + np.array([3, 4], np.float32)  # moved by 5 pixels; the eyes are 20 apart
    error, = landmark_errors(maps_of(moved), maps_of(points), point_set.eyes)
    assert error == pytest.approx(0.25, abs=2e-3)
    outside = points.copy()
    outside[0] = (-30, 10)  # the first jaw point: no heatmap, so it is not counted
    error, = landmark_errors(maps_of(moved), maps_of(outside), point_set.eyes)
    assert error == pytest.approx(0.25, abs=2e-3)
    outside[point_set.eyes[0]] = (-30, 10)
    assert landmark_errors(maps_of(moved), maps_of(outside), point_set.eyes) == [None]


def test_overlap_is_intersection_over_union():
    estimated, true = np.full((2, 3, 8, 8), -1.0), np.full((2, 3, 8, 8), -1.0)
    true[0, 0, :4], estimated[0, 0, 2:6] = 1, 0.1  # intersection 16, union 48
    estimated[0, 1, 0, 0] = 1  # a part that the face does not have
    true[1, 2] = estimated[1, 2] = 1
    assert parsing_overlaps(estimated, true) == [[pytest.approx(1 / 3), 0, None], [None, None, 1]]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    write_faces(folder, 5, first_seed=0, size=64)
    return folder


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    options = parse_train(SMALL)
    recipe = build_training_recipe(options)
    checkpoint.save_weights(tmp_path, "best", {"G": recipe.networks["G"]})
    run_folder.write_options(options, tmp_path)
    return tmp_path / "best_net_G.pth", recipe


def test_newtest_says_what_the_priors_are_worth(tmp_path, weights, drawn, capsys):
    path, recipe = weights
    folder = restore(tmp_path, path, "--gtroot", drawn, "--batch_size", 2)
    report = json.loads((folder / "scores.json").read_text())
    dataset = BuiltinDataset(BuiltinDataset.list_faces(str(drawn), "FACES"), 32, 8, priors="both")
    errors, overlaps = [], []
    recipe.networks["G"].eval()
    for i in range(5):
        sample = dataset[Place(0, i)]
        with torch.no_grad():
            found = recipe.networks["G"](to_tensor_range(torch.from_numpy(sample["lr"].copy())[None]))[1].numpy()
        true = np.moveaxis(sample["priors"], 2, 0)[None] / 127.5 - 1
        errors += landmark_errors(found[:, :68], true[:, :68], POINTS_68.eyes)
        overlaps += parsing_overlaps(found[:, 68:], true[:, 68:])
    assert report["priors"]["landmark_error"] == pytest.approx(np.mean(errors), rel=1e-4)
    assert report["priors"]["faces"] == 5
    of_faces = list(csv.DictReader((folder / "faces.csv").read_text().splitlines()))
    assert [float(face["landmark_error"]) for face in of_faces] == pytest.approx(errors, rel=1e-4)
    means = [np.mean([value for value in face if value is not None]) for face in overlaps]
    assert [float(face["parsing_iou"]) for face in of_faces] == pytest.approx(means, abs=1e-3)
    skin = np.mean([face[0] for face in overlaps])
    assert report["priors"]["parsing_iou"]["skin"] == pytest.approx(skin, abs=1e-3)
    out = capsys.readouterr().out
    assert "landmark error  " in out and "parsing, overlap (IoU)" in out
    assert "priors.png (LR | coarse | SR | HR | landmarks | parts | true landmarks | true parts)" in out
    assert (folder / "priors.png").stat().st_size > 1000


def test_faces_that_lack_annotation_are_named_or_have_empty_cells(tmp_path, weights, drawn, capsys):
    """A face without annotation is left out. The landmark error's cell is empty if an eye is outside the image."""
    faces = shutil.copytree(drawn, tmp_path / "faces")
    (faces / "masks" / "00001.png").unlink()
    table = faces / "landmarks68.csv"
    header, *rows = csv.reader(table.read_text().splitlines())
    rows[2][header.index("x36")] = "-40"  # the corner of an eye
    table.write_text("\n".join(",".join(row) for row in (header, *rows)))
    folder = restore(tmp_path, weights[0], "--gtroot", faces)
    report = json.loads((folder / "scores.json").read_text())
    assert report["faces"] == 4 and report["priors"]["faces"] == 3
    of_faces = {face["file"]: face for face in csv.DictReader((folder / "faces.csv").read_text().splitlines())}
    assert list(of_faces) == [f"images/0000{i}.png" for i in (0, 2, 3, 4)]
    assert [name for name, face in of_faces.items() if face["landmark_error"] == ""] == ["images/00002.png"]
    assert all(0 <= float(face["parsing_iou"]) < 1 for face in of_faces.values())
    out = capsys.readouterr().out
    assert "warning: 1 of 5 pictures below" in out and "are left out: 00001.png" in out


def test_parts_that_no_face_shows_have_no_overlap():
    metrics = PriorMetrics(BuiltinDataset, "parsing", (0, 11))
    rows = metrics.score(np.full((1, 11, 8, 8), -1.0), np.zeros((1, 8, 8, 11), np.uint8))
    assert metrics.columns == ["parsing_iou"] and metrics.cells(rows[0]) == [None] and metrics.summarise(rows) == {}


def test_without_annotation_the_reason_is_given_and_the_maps_are_shown(tmp_path, weights, faces, capsys):
    folder = restore(tmp_path, weights[0], "--gtroot", faces)
    assert json.loads((folder / "scores.json").read_text())["priors"] == {}
    out = capsys.readouterr().out
    assert "landmark error and parsing overlap absent: none of the 10 pictures below" in out
    assert "priors.png (LR | coarse | SR | HR | landmarks | parts)\n" in out
    restore(tmp_path, weights[0], "--gtroot", faces, "--dataset_name", "celeba", "--max_images", 1)
    assert "parsing overlap absent: --dataset_name celeba has no priors." in capsys.readouterr().out
    restore(tmp_path, weights[0], "--gtroot", faces, "--dataroot", faces, "--max_images", 1)
    assert "parsing overlap absent: they are measured on --gtroot alone" in capsys.readouterr().out
    (folder / "priors.png").unlink()
    restore(tmp_path, weights[0], "--dataroot", faces, "--max_images", 1)
    assert "priors.png (LR | coarse | SR | landmarks | parts)\n" in capsys.readouterr().out
    (folder / "priors.png").unlink()
    restore(tmp_path, weights[0], "--gtroot", faces, "--lambda_prior", "0")  # no maps: they were not trained
    assert not re.search("landmark error and parsing|Priors:", capsys.readouterr().out)
    assert not (folder / "priors.png").exists()


def test_the_picture_of_the_maps_does_not_need_the_first_face(tmp_path, weights, drawn, capsys):
    faces = shutil.copytree(drawn, tmp_path / "faces")
    (faces / "images" / "00000.png").write_bytes(b"broken")
    folder = restore(tmp_path, weights[0], "--gtroot", faces, "--batch_size", 1, status=1)
    assert "Priors: " in capsys.readouterr().out and (folder / "priors.png").exists()


def test_other_numbers_of_maps_are_told(tmp_path, weights, drawn, capsys):
    restore(tmp_path, weights[0], "--gtroot", drawn, "--priors", "parsing")
    assert ("absent: the network estimates 68 heatmaps and 11 parsing maps, --dataset_name and --priors give 0 and 11"
            in capsys.readouterr().out)
    restore(tmp_path, weights[0], "--gtroot", drawn, "--dataset_name", "landmarks68")
    assert "--priors give 68 and 9." in capsys.readouterr().out
    with pytest.raises(UserError, match="11 heatmaps and 68 parsing maps, .* give 68 and 11"):
        PriorMetrics(BuiltinDataset, "both", (11, 68))


def test_eyes_at_one_point_give_no_error():
    maps = np.full((1, 4, 8, 8), -1.0)
    maps[:, :, 3, 3] = 1
    assert landmark_errors(maps, maps, (slice(0, 2), slice(2, 4))) == [None]
