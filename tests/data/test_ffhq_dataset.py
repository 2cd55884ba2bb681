# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Pairs of degraded and true faces: reproducible, and the same with a cache."""
import numpy as np
import pytest
from PIL import Image

from data.degradations import degrade_ffhq
from data.face_folder import Place
from data.ffhq_dataset import BlindDataset, FFHQDataset, InpaintingDataset
from data.loader import BadImages, collate
from tests.helpers.faces import write_faces
from utils.errors import UserError
from utils.files import WriteError
from utils.images import centre_square, resize


@pytest.mark.parametrize("load_size", [64, 512])
def test_a_sample_is_the_chain_at_512_pixels(tmp_path, load_size):
    paths = sorted(map(str, write_faces(tmp_path, 3, size=(80, 100)).iterdir()))
    dataset = FFHQDataset(paths, load_size, augmentation="none", seed=5)
    sample = dataset[Place(2, 1)]
    image = Image.open(paths[1])
    square = np.asarray(resize(image, 512, centre_square(image.size)))
    hr, lr, _ = (Image.fromarray(x) if isinstance(x, np.ndarray) else x
                 for x in degrade_ffhq(square, np.random.default_rng([5, 2, 1])))
    assert np.array_equal(sample["hr"], resize(hr, load_size)) and np.array_equal(sample["lr"], resize(lr, load_size))
    assert not np.array_equal(sample["lr"], dataset[Place(3, 1)]["lr"])


def test_above_512_pixels_the_target_keeps_its_own(tmp_path):
    """The target is not resized to 512 pixels: its fine pattern is kept. Grey targets are grey at full size."""
    face = np.zeros((700, 700, 3), np.uint8)
    face[::2] = (250, 60, 120)
    Image.fromarray(face).save(tmp_path / "face.png")
    dataset = FFHQDataset([str(tmp_path / "face.png")], 700, augmentation="none")
    samples = [dataset[Place(epoch, 0)] for epoch in range(12)]
    greys = [s for s in samples if not np.ptp(s["hr"], axis=2).any()]
    assert 0 < len(greys) < 12
    assert sum(np.array_equal(s["hr"], face) for s in samples) == 12 - len(greys)
    assert all(s["hr"][:2, 0, 0].tolist() == [round(0.299 * 250 + 0.587 * 60 + 0.114 * 120), 0] for s in greys)
    assert all(s["lr"].shape == face.shape for s in samples)


def test_half_of_the_faces_are_flipped_both_pictures_alike(tmp_path):
    paths = sorted(map(str, write_faces(tmp_path, 1, size=(512, 512)).iterdir()))
    face = np.asarray(Image.open(paths[0]))
    dataset = FFHQDataset(paths, 512)
    coloured = [s["hr"] for s in (dataset[Place(epoch, 0)] for epoch in range(100)) if np.ptp(s["hr"], axis=2).any()]
    flipped = sum(np.array_equal(hr, face[:, ::-1]) for hr in coloured)
    assert flipped + sum(np.array_equal(hr, face) for hr in coloured) == len(coloured)
    assert 0.35 < flipped / len(coloured) < 0.65


def test_the_cache_holds_the_resized_square_until_the_file_changes(tmp_path):
    faces = write_faces(tmp_path / "faces", 2, size=(90, 90))
    paths = sorted(map(str, faces.iterdir()))
    plain = FFHQDataset(paths, 32)[Place(0, 0)]
    cached = FFHQDataset(paths, 32, cache_folder=tmp_path / "cache")
    for _ in range(2):
        sample = cached[Place(0, 0)]
        assert np.array_equal(sample["hr"], plain["hr"]) and np.array_equal(sample["lr"], plain["lr"])
    kept, = (tmp_path / "cache").iterdir()
    Image.fromarray(np.zeros((512, 512, 3), np.uint8)).save(kept)  # shows that the cache is read
    assert not cached[Place(0, 0)]["hr"].any()
    kept.write_bytes(b"")  # a power cut may leave an empty file
    sample = cached[Place(0, 0)]
    assert np.array_equal(sample["hr"], plain["hr"]) and sample["notes"] == plain["notes"]
    assert np.asarray(Image.open(kept)).any()  # written again
    Image.fromarray(np.full((50, 50, 3), 200, np.uint8)).save(paths[0])
    assert (cached[Place(0, 0)]["hr"] == 200).all()


def test_the_cache_knows_sizes_and_refusals_apart(tmp_path):
    paths = sorted(map(str, write_faces(tmp_path / "faces", 2, size=(90, 90)).iterdir()))
    FFHQDataset(paths, 32, cache_folder=tmp_path / "cache")[Place(0, 0)]
    for options in ({"load_size": 600}, {"load_size": 128}, {"load_size": 32, "min_size": 100}):
        plain, cached = (FFHQDataset(paths, cache_folder=folder, **options)[Place(0, 0)]
                         for folder in (None, tmp_path / "cache"))
        assert cached["notes"] == plain["notes"] != []
        assert "hr" not in plain or np.array_equal(cached["hr"], plain["hr"])
    # Both resize the same way, but one caches squares of 512 pixels and the other squares of load_size.
    for dataset in (BlindDataset, InpaintingDataset):
        assert dataset(paths, 64, cache_folder=tmp_path / "cache")[Place(0, 0)]["hr"].shape == (64, 64, 3)


def test_a_small_picture_is_noted_each_time_and_a_full_disk_once(tmp_path, monkeypatch):
    paths = sorted(map(str, write_faces(tmp_path / "faces", 2, size=(20, 20)).iterdir()))
    small = FFHQDataset(paths, 32, cache_folder=tmp_path / "cache")
    for _ in range(2):
        assert small[Place(0, 0)]["notes"] == [("small", paths[0], "20x20 pixels")]

    def full(array, path):
        raise WriteError("", "No space left on device")
    monkeypatch.setattr("data.square_folder.save_image", full)
    dataset = FFHQDataset(paths, 16, cache_folder=tmp_path / "cache")
    said = []
    bad = BadImages(2, "stop", said.append)
    for index in range(2):
        bad.check(collate([dataset[Place(0, index)]]))
    assert len(said) == 1 and "--cache_folder: cannot write into" in said[0] and "No space left" in said[0]


def test_cache_folder_is_refused_where_nothing_reads_it(train):
    with pytest.raises(UserError, match="--cache_folder is not read here: --dataset_name celeba resizes its faces"):
        train("--cache_folder", "x", "--train_steps", 1)
