# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""benchmarks/robustness.py: the crops, the degraded inputs and the tables."""
import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import robustness
from benchmarks.robustness import condition_cases, crop_cases, enlarged, main, spoil
from data.drawn.builtin_faces import write_faces as draw_faces
from metrics.identity import IdentitySimilarity
from tests.conftest import write_faces
from utils.images import degrade, read_rgb, resize


def test_crops_begin_at_their_row_and_conditions_at_the_centre():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (218, 178, 3), dtype=np.uint8))
    (case, inputs, faces), = crop_cases([image], [20])
    assert case == {"first row": 20}
    assert np.array_equal(faces[0], np.asarray(resize(image, 128, (0, 20, 178, 198))))
    assert np.array_equal(*enlarged(inputs, 128), np.asarray(degrade(Image.fromarray(faces[0]), 8)))
    whole = {case["condition"]: (low[0], true[0]) for case, low, true in condition_cases([image], [128])}
    assert np.array_equal(whole["clean"][1], faces[0]) and np.array_equal(*map(np.asarray, whole["clean"]))
    assert whole.keys() == {"clean", "blur", "noise", "jpeg", "all"}
    assert all(not np.array_equal(*map(np.asarray, pair)) for name, pair in whole.items() if name != "clean")
    case, inputs, faces = next(condition_cases([image], [32], side=64))
    assert case == {"size": 32, "condition": "clean"}
    assert np.array_equal(*enlarged(inputs, 64), np.asarray(degrade(Image.fromarray(faces[0]), 2)))
    assert faces[0].shape[0] == 64


def test_a_small_clean_face_is_the_protocols_input():
    face = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    small = spoil(face, 16, (), None)
    assert np.array_equal(*enlarged([small], 128, 16), np.asarray(degrade(Image.fromarray(face), 8)))
    larger = spoil(face, 32, (), None)  # a network for faces of 16 pixels gets it at that size
    assert np.array_equal(*enlarged([larger], 128, 16), np.asarray(resize(resize(larger, 16), 128)))


@pytest.mark.parametrize("what", ["crops", "conditions"])
def test_tables(what, train, tmp_path, monkeypatch, capsys):
    _, run = train("--train_steps", 1)
    faces = write_faces(tmp_path / "aligned", 3, size=(178, 218))
    weights = [str(run / "latest_net_G.pth")] * 2
    monkeypatch.setattr(sys, "argv", ["robustness.py", what, str(faces), "--weights", *weights, "--count", "2",
                                      "--rows", "8", "20", "--sizes", "16", "--json", str(tmp_path / "table.json")])
    main()
    rows = json.loads((tmp_path / "table.json").read_text())["rows"]
    assert len(rows) == (2 if what == "crops" else 5)
    assert all(row["weights 1"] == row["weights 2"] and 5 < row["input"] < 60 for row in rows)
    assert "2 faces of" in capsys.readouterr().out


def test_a_network_gets_faces_of_other_sizes_as_in_newtest(train, tmp_path, monkeypatch):
    """The network was trained on faces of 16 pixels, an eighth of 128."""
    _, run = train("--train_steps", 1, "--load_size", 128, "--min_feat_size", 32)
    faces = write_faces(tmp_path / "aligned", 1, size=(128, 128))
    seen = []
    monkeypatch.setattr(robustness, "restored", lambda net, inputs, device: seen.append(inputs) or inputs)
    monkeypatch.setattr(sys, "argv", ["robustness.py", "conditions", str(faces), "--weights",
                                      str(run / "latest_net_G.pth"), "--sizes", "16", "32", "128"])
    main()
    face = read_rgb(next(faces.iterdir()))
    clean = [resize(resize(face, 16), 128), resize(resize(resize(face, 32), 16), 128), face]
    assert all(np.array_equal(*got, np.asarray(wanted)) for got, wanted in zip(seen[::5], clean, strict=True))


def test_identity_is_that_of_newtest(train, tmp_path, monkeypatch, embedding):
    _, run = train("--train_steps", 1)
    draw_faces(tmp_path / "faces", 1, 3)
    monkeypatch.setattr(sys, "argv", ["robustness.py", "crops", str(tmp_path / "faces"), "--weights",
                                      str(run / "latest_net_G.pth"), "--rows", "0", "--identity_path", embedding,
                                      "--json", str(tmp_path / "table.json")])
    main()
    row, = json.loads((tmp_path / "table.json").read_text())["rows"]
    face = read_rgb(tmp_path / "faces" / "images" / "00000.png")
    found, = IdentitySimilarity(embedding, torch.device("cpu"))([np.asarray(face)], [np.asarray(degrade(face, 8))])
    assert row["identity, input"] == pytest.approx(found[0]) and -1 <= row["identity, weights 1"] < 1
