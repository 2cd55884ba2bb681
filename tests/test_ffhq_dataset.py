"""Degraded and true faces: reproducible, cached once, and untouched where nothing was drawn."""
import numpy as np
from PIL import Image

from data.degradations import degrade_ffhq
from data.face_folder import Place
from data.ffhq_dataset import FFHQDataset
from tests.conftest import write_faces
from utils.images import centre_square, resize


def test_a_sample_is_the_chain_on_the_square(tmp_path):
    paths = sorted(map(str, write_faces(tmp_path, 3, size=(80, 100)).iterdir()))
    dataset = FFHQDataset(paths, 64, augmentation="none", seed=5)
    sample = dataset[Place(2, 1)]
    image = Image.open(paths[1])
    square = np.asarray(resize(image, 64, centre_square(image.size)))
    hr, lr, _ = degrade_ffhq(square, np.random.default_rng([5, 2, 1]))
    assert np.array_equal(sample["hr"], hr) and np.array_equal(sample["lr"], lr)
    assert not np.array_equal(sample["lr"], dataset[Place(3, 1)]["lr"])


def test_half_of_the_faces_are_flipped_both_pictures_alike(tmp_path):
    paths = sorted(map(str, write_faces(tmp_path, 1, size=(32, 32)).iterdir()))
    face = np.asarray(Image.open(paths[0]))
    dataset = FFHQDataset(paths, 32)
    coloured = [s["hr"] for s in (dataset[Place(epoch, 0)] for epoch in range(300)) if np.ptp(s["hr"], axis=2).any()]
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
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(kept)  # it is read, not only written
    assert not cached[Place(0, 0)]["hr"].any()
    Image.fromarray(np.full((50, 50, 3), 200, np.uint8)).save(paths[0])
    assert (cached[Place(0, 0)]["hr"] == 200).all()
