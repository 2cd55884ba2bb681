# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""LPIPS, identity and FID in newtest.py's table: equal to direct computation; the reason if they are absent."""
import csv
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from data.drawn.builtin_faces import draw_face
from metrics import perceptual
from metrics.fid import fid
from metrics.identity import IdentitySimilarity
from models import lpips
from models.face_embedding import MobileFaceNet
from tests.helpers.faces import write_faces
from tests.helpers.released import fill
from tests.helpers.runs import restore
from utils.errors import UserError
from utils.images import centre_square, degrade, resize, to_tensor_range


class ColourFeatures(nn.Module):
    """Stands in for Inception: mean and standard deviation per channel, [N, 6]."""

    def forward(self, x):
        return torch.cat([x.mean((2, 3)), x.std((2, 3))], 1)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Returns the options --lpips_path, --identity_path and --fid_path; a stand-in replaces Inception."""
    net = lpips.LPIPS("lpips", lpips.alexnet_layers(), (1,))
    torch.save({k: v for k, v in fill(net.state_dict()).items() if "features" in k}, tmp_path / "alex.pth")
    torch.save(fill(MobileFaceNet().state_dict()), tmp_path / "face.pth")
    monkeypatch.setattr(perceptual, "load_inception", lambda path: ColourFeatures())
    return ["--lpips_path", tmp_path / "alex.pth", "--identity_path", tmp_path / "face.pth", "--fid_path", "inception"]


@pytest.fixture
def portraits(tmp_path):
    folder = tmp_path / "portraits"
    folder.mkdir()
    for seed in range(4):
        Image.fromarray(draw_face(seed, 64).image).save(folder / f"{seed}.png")
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(folder / "nobody.png")
    return folder


def tensors(pictures):
    return to_tensor_range(torch.from_numpy(np.stack(pictures)))


def test_the_table_holds_what_the_pictures_give(tmp_path, weights, files, portraits, capsys):  # noqa: F811
    folder = restore(tmp_path, weights[0], "--gtroot", portraits, "--batch_size", 2, *files)
    report = json.loads((folder / "scores.json").read_text())
    hr = [resize(Image.open(path), 32) for path in sorted(portraits.iterdir())]
    pictures = {"hr": [np.asarray(p) for p in hr], "input": [np.asarray(degrade(p, 8)) for p in hr],
                "restored": [np.asarray(Image.open(path)) for path in sorted((folder / "restored").iterdir())]}
    distance = lpips.load_lpips(str(files[1]))
    identity = IdentitySimilarity(str(files[3]), torch.device("cpu"))
    features = {which: ColourFeatures()(tensors(judged)) for which, judged in pictures.items()}
    faces = list(csv.DictReader((folder / "faces.csv").read_text().splitlines()))
    for which in ("input", "restored"):
        distances = distance(tensors(pictures[which]), tensors(pictures["hr"]))
        assert report["lpips"][which] == pytest.approx(distances.mean().item(), rel=1e-4)
        assert [float(face[f"lpips_{which}"]) for face in faces] == pytest.approx(distances.tolist(), rel=1e-4)
        cosines, = identity(pictures["hr"], pictures[which])
        assert cosines[4] is None and faces[4][f"identity_{which}"] == ""
        assert report["identity"][which] == pytest.approx(np.mean(cosines[:4]), abs=1e-5)
        assert report["fid"][which] == pytest.approx(fid(features["hr"], features[which]), abs=1e-6)
    assert report["identity"]["faces"] == 4 and report["fid"]["reference_faces"] == 5
    out = capsys.readouterr().out
    assert "(a face was found in 4 of 5)" in out and "5 faces against 5; below 2048" in out and "absent" not in out


def test_fid_may_compare_with_other_faces_and_needs_no_references(tmp_path, weights, files, portraits):  # noqa: F811
    others = write_faces(tmp_path / "others", 7, size=(50, 40))
    folder = restore(tmp_path, weights[0], "--dataroot", portraits, "--fid_reference", others, *files[4:])
    report = json.loads((folder / "scores.json").read_text())
    assert report["protocols"] == {} and "lpips" not in report and report["fid"]["reference_faces"] == 7
    real = [np.asarray(resize(im, 32, centre_square(im.size))) for im in map(Image.open, sorted(others.iterdir()))]
    sr = [np.asarray(Image.open(path)) for path in sorted((folder / "restored").iterdir())]
    a, b = (ColourFeatures()(tensors(pictures)) for pictures in (real, sr))
    assert report["fid"]["restored"] == pytest.approx(fid(a, b), abs=1e-6)


@pytest.mark.parametrize("readable", [0, 1])
def test_unreadable_faces_cost_fid_and_nothing_else(tmp_path, weights, files, portraits, capsys, readable):  # noqa: F811
    others = write_faces(tmp_path / "others", readable, size=(50, 40))
    for number in range(2):
        (others / f"broken{number}.png").write_text("text")
    folder = restore(tmp_path, weights[0], "--gtroot", portraits, "--fid_reference", others, *files[4:], status=1)
    report = json.loads((folder / "scores.json").read_text())
    assert report["faces"] == 5 and "sparnet" in report["protocols"] and "fid" not in report
    told = capsys.readouterr()
    assert re.search(f"^FID absent: FID compares sets of faces, .* {readable} real and 5 restored ones", told.out, re.M)
    assert "error: 2 images could not be read, restored, written or scored" in told.err


def test_what_is_absent_says_why(tmp_path, weights, portraits, capsys):  # noqa: F811
    folder = restore(tmp_path, weights[0], "--gtroot", portraits)
    out = capsys.readouterr().out
    for line in ("LPIPS absent: no --lpips_path FILE was given (AlexNet, https://",
                 "identity similarity absent: no --identity_path FILE was given (MobileFaceNet or https://",
                 "FID absent: no --fid_path FILE was given (Inception, https://"):
        assert line in out
    assert not {"lpips", "identity", "fid"} & set(json.loads((folder / "scores.json").read_text()))


@pytest.mark.parametrize("words, message", [
    (["--fid_reference", "x"], "--fid_reference is of use with --fid_path FILE only"),
    (["--lpips_path", "none.pth"], "--lpips_path: LPIPS needs AlexNet's weights .*none.pth: there is no such file"),
    (["--fid_path", "inception", "--max_images", "1"], "--fid_path: FID compares sets of faces; one face is none"),
    (["--fid_path", "inception", "--fid_reference", "none"], "--fid_reference: the folder none does not exist"),
])
def test_what_cannot_be_is_refused_at_once(tmp_path, weights, files, portraits, words, message):  # noqa: F811
    with pytest.raises(UserError, match=message):
        restore(tmp_path, weights[0], "--gtroot", portraits, *words)
    assert not any((tmp_path / "results").rglob("*.png"))


@pytest.mark.parametrize("words, message", [
    (["--lpips_path", "x"], "--lpips_path compares with references: give --gtroot FOLDER"),
    (["--identity_path", "x"], "--identity_path compares with references: give --gtroot FOLDER"),
    (["--fid_path", "x"], "--fid_path compares with other faces: give --gtroot or --fid_reference FOLDER"),
])
def test_what_there_is_nothing_to_compare_with_is_refused(tmp_path, weights, portraits, words, message):  # noqa: F811
    with pytest.raises(UserError, match=message):
        restore(tmp_path, weights[0], "--dataroot", portraits, *words)


def test_lpips_needs_some_pixels():
    options = SimpleNamespace(lpips_path="alex.pth", load_size=16)
    with pytest.raises(UserError, match="LPIPS needs 31 pixels or more, --load_size is 16"):
        perceptual.PerceptualMetrics(options, torch.device("cpu"))
