# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""tools.similar_faces: a copy of a test face among others is found, in whatever folder it lies."""
import sys

import pytest
import torch
from PIL import Image

from data.drawn.builtin_faces import draw_face
from tools import similar_faces
from utils.errors import UserError


@pytest.fixture
def folders(tmp_path):
    """Returns two folders: faces 0 and 3; in a subfolder 3, smaller and compressed again, and 5; a picture without."""
    for folder, seeds in (("test", (0, 3)), ("training/deep", (3, 5))):
        (tmp_path / folder).mkdir(parents=True)
        for seed in seeds:
            small = "training" in folder
            picture = Image.fromarray(draw_face(seed, 128).image).resize((112, 112) if small else (128, 128))
            picture.save(tmp_path / folder / f"{seed}.jpg", quality=85 if small else 95)
    Image.new("RGB", (128, 128), "grey").save(tmp_path / "training" / "wall.png")
    return tmp_path / "test", tmp_path / "training"


def test_a_copy_is_found_in_another_folder(tmp_path, folders, embedding, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["similar_faces", *map(str, folders), "--identity_path", str(embedding), "--csv",
                                      str(tmp_path / "rows.csv"), "--above", "0", "--device", "cpu"])
    assert similar_faces.main() == 1  # wall.png was left out
    out, err = capsys.readouterr()
    assert "wall.png: no face was found in it" in err
    first, second, last = out.splitlines()
    assert first.startswith("3.jpg  deep/3.jpg  ") and second.startswith("0.jpg  deep/")  # the most similar first
    assert last.startswith("2 of 2 faces have a face above 0 among 2; ")
    head, other, copy = (tmp_path / "rows.csv").read_text().splitlines()
    assert head == "face,most similar,cosine"
    assert copy.startswith("3.jpg,deep/3.jpg,") and other.startswith("0.jpg,deep/")
    assert float(other.rsplit(",", 1)[1]) < float(copy.rsplit(",", 1)[1]) < 1


def test_the_most_similar_vector_has_the_largest_cosine():
    vectors, others = torch.tensor([[1.0, 0], [0, 1]]), torch.tensor([[0.6, 0.8], [0.8, -0.6], [-1, 0]])
    cosines, places = similar_faces.most_similar(vectors, others)
    assert places.tolist() == [1, 0] and torch.allclose(cosines, torch.tensor([0.8, 0.8]))


def test_a_folder_without_a_face_is_named(tmp_path, folders, embedding, monkeypatch):
    (tmp_path / "training" / "deep" / "3.jpg").unlink()
    (tmp_path / "training" / "deep" / "5.jpg").unlink()
    monkeypatch.setattr(sys, "argv", ["similar_faces", *map(str, folders), "--identity_path", str(embedding)])
    with pytest.raises(UserError, match="OTHERS: no face was found in the images of "):
        similar_faces.main()
