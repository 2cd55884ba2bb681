"""Datasets and batches: crops that do not squash, randomness by (seed, epoch, index), each image once an epoch."""
import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data import find_dataset
from data.celeba_dataset import CelebADataset, crop_mended, crop_upstream, random_crop_box
from data.face_folder import Place
from data.loader import BadImages, InOrder, TrainingOrder, collate, hold_out, make_loader
from data.single_dataset import SingleDataset
from tests.conftest import write_faces
from utils.errors import UserError
from utils.images import centre_square, degrade, list_images, resize, to_tensor_range


def celeba(paths, augmentation="none", seed=0, load_size=128, **options):
    return CelebADataset([str(p) for p in paths], load_size, 8, augmentation, seed=seed, **options)


def ramp(width, height):
    """A picture whose red is the x position and whose green is the y position, in pixels."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.dstack([x, y, 0 * x]).astype(np.uint8))


def test_aligned_celeba_is_cropped_square_not_squashed(tmp_path):
    ramp(178, 218).save(tmp_path / "a.png")
    sample = celeba([tmp_path / "a.png"])[Place(0, 0)]
    hr = sample["hr"].astype(float)
    # 178 x 178 from row 20 on: a step of one pixel is 178 / 128 in both directions.
    assert hr.shape == (128, 128, 3)
    np.testing.assert_allclose(hr[64, :, 0], (np.arange(128) + 0.5) * 178 / 128 - 0.5, atol=1)
    np.testing.assert_allclose(hr[:, 64, 1], 20 + (np.arange(128) + 0.5) * 178 / 128 - 0.5, atol=1)


def test_ready_crops_pass_unchanged_and_lr_is_the_protocols(tmp_path):
    face = Image.fromarray(np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8))
    face.save(tmp_path / "a.png")
    sample = celeba([tmp_path / "a.png"])[Place(3, 0)]
    assert np.array_equal(sample["hr"], np.asarray(face))
    assert np.array_equal(sample["lr"], np.asarray(degrade(face, 8)))


def box_of(crop, seed, side=200, size=128):
    """(left, top, right, bottom) in the source of what a crop shows, read off a picture of coordinates."""
    shown = np.asarray(crop(ramp(side, side), size, np.random.default_rng(seed))).astype(float)
    left, right = np.median(shown[:, 10, 0]), np.median(shown[:, -11, 0])
    top, bottom = np.median(shown[10, :, 1]), np.median(shown[-11, :, 1])
    step_x, step_y = (right - left) / (size - 21), (bottom - top) / (size - 21)
    return left - 10.5 * step_x, top - 10.5 * step_y, right + 10.5 * step_x, bottom + 10.5 * step_y


def test_mended_crop_has_the_published_areas_and_lies_anywhere():
    boxes = np.array([box_of(crop_mended, seed) for seed in range(150)])
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    share = width * height / 200 ** 2
    assert share.min() > 0.68 and share.max() < 1.02 and share.mean() == pytest.approx(0.83, abs=0.03)
    ratio = width / height
    assert 0.73 < ratio.min() < 0.85 and 1.18 < ratio.max() < 1.37
    assert boxes.min() > -2 and boxes.max() < 202
    slack = 200 - height
    free = slack > 10
    position = boxes[free, 1] / slack[free]
    assert position.min() < 0.1 and position.max() > 0.9  # from the top to the bottom


def test_upstream_crop_keeps_the_published_fault():
    boxes = np.array([box_of(crop_upstream, seed) for seed in range(80)])
    # The box was drawn for the unscaled picture: what a scale of 1.3 pushes out at the right is never seen.
    assert boxes[:, 2].mean() < 0.93 * 200 and boxes[:, 3].mean() < 0.93 * 200
    mended = np.array([box_of(crop_mended, seed) for seed in range(80)])
    assert boxes[:, 2:].mean() < mended[:, 2:].mean() - 10


def test_upstream_returns_an_unscaled_picture_uncropped():
    class Smallest:
        def uniform(self, low, high):
            return low
    face = ramp(200, 200)
    assert np.array_equal(np.asarray(crop_upstream(face, 128, Smallest())),
                          np.asarray(resize(face, 128, centre_square(face.size))))


def test_crop_box_gives_up_on_impossible_shapes():
    class Wide:
        def uniform(self, low, high):
            return high
    assert random_crop_box(100, 100, Wide()) == (0, 0, 100, 100)


def test_half_of_the_faces_are_flipped(tmp_path):
    write_faces(tmp_path, 1, size=(128, 128))
    dataset = celeba(tmp_path.iterdir(), "mended")
    dataset.crop = lambda image, size, rng: image
    plain = dataset[Place(0, 0)]["hr"]
    seen = [dataset[Place(epoch, 0)]["hr"] for epoch in range(200)]
    flipped = sum(np.array_equal(s, plain[:, ::-1]) for s in seen)
    same = sum(np.array_equal(s, plain) for s in seen)
    assert flipped + same == 200 and 70 < same < 130


def test_randomness_comes_from_seed_epoch_and_index_alone(tmp_path):
    paths = sorted(write_faces(tmp_path, 3).iterdir())
    a, b = celeba(paths, "mended"), celeba(paths, "mended")
    reference = {(e, i): a[Place(e, i)]["hr"] for e in range(2) for i in range(3)}
    for e, i in reversed(list(reference)):
        np.random.random(5)
        torch.rand(5)
        assert np.array_equal(b[Place(e, i)]["hr"], reference[e, i])
    assert not np.array_equal(reference[0, 1], reference[1, 1])
    assert not np.array_equal(celeba(paths, "mended", seed=1)[Place(0, 1)]["hr"], reference[0, 1])


def batches(dataset, order, workers=0):
    return list(make_loader(dataset, order, workers))


def test_workers_change_nothing(tmp_path):
    paths = sorted(write_faces(tmp_path, 7).iterdir())
    results = [batches(celeba(paths, "mended", load_size=32), TrainingOrder(7, 3, 5, seed=4), workers)
               for workers in (0, 2)]
    for a, b in zip(*results, strict=True):
        assert a["index"] == b["index"] and torch.equal(a["hr"], b["hr"]) and torch.equal(a["lr"], b["lr"])


def test_loading_leaves_the_random_numbers_of_training_alone(tmp_path):
    paths = sorted(write_faces(tmp_path, 4).iterdir())
    before = torch.get_rng_state()
    batches(celeba(paths, "mended", load_size=32), InOrder(4, 2))
    assert torch.equal(before, torch.get_rng_state())


def test_each_image_once_an_epoch_and_another_order_each_time():
    places = list(itertools.chain.from_iterable(TrainingOrder(10, 4, 10, seed=1)))
    assert len(places) == 40
    epochs = [[p.index for p in places if p.epoch == e] for e in range(4)]
    assert all(sorted(e) == list(range(10)) for e in epochs)
    assert len(set(map(tuple, epochs))) == 4
    assert all(len(batch) == 4 for batch in TrainingOrder(10, 4, 10))


@pytest.mark.parametrize("start", [0, 4, 8, 12, 36])
def test_order_goes_on_at_a_sample_position(start):
    whole = list(itertools.chain.from_iterable(TrainingOrder(10, 4, 15, seed=1)))
    assert list(itertools.chain.from_iterable(TrainingOrder(10, 4, 3, seed=1, start=start))) == whole[start:start + 12]


def test_in_order_takes_everything_once():
    assert [[p.index for p in b] for b in InOrder(5, 2)] == [[0, 1], [2, 3], [4]]
    assert len(InOrder(5, 2)) == 3 and len(InOrder(4, 2)) == 2


def test_held_out_faces_are_spread_and_never_trained_on(tmp_path):
    for i in range(100):
        (tmp_path / f"{i:02d}.png").touch()
    files = list_images(str(tmp_path), "--dataroot")
    train, val = hold_out(files, 10)
    assert list(val) == [str(tmp_path / f"{i:02d}.png") for i in range(0, 100, 10)]
    assert sorted([*train, *val]) == list(files)
    assert [list(part) for part in hold_out(files, 0)] == [list(files), []]
    with pytest.raises(UserError, match="--val_count 51"):
        hold_out(files, 51)


def test_a_damaged_image_is_replaced_by_its_neighbour(tmp_path):
    paths = sorted(write_faces(tmp_path, 4).iterdir())
    paths[3].write_bytes(b"broken")
    dataset = celeba(paths, load_size=32)
    sample = dataset[Place(0, 3)]
    assert np.array_equal(sample["hr"], dataset[Place(0, 0)]["hr"]) and sample["replaced"]
    assert [(kind, path) for kind, path, _ in sample["notes"]] == [("bad", str(paths[3]))]
    batch = collate([sample, dataset[Place(0, 1)]])
    assert batch["replaced"] == [True, False] and batch["index"] == [3, 1] and batch["complete"]
    stopping = celeba(paths, load_size=32, on_bad_image="stop")
    assert not collate([stopping[Place(0, 3)]])["complete"]


def test_a_file_that_was_mended_since_does_not_stop_a_resumed_run():
    bad = BadImages(1000, "stop", print)
    bad.bad["a.png"] = "a.png: torn"  # of the checkpoint
    bad.check({"notes": [], "complete": True})
    with pytest.raises(UserError, match="stop.: b.png: torn"):
        bad.check({"notes": [("bad", "b.png", "torn")], "complete": True})


def test_small_images_are_noted_or_refused(tmp_path):
    write_faces(tmp_path, 1, size=(100, 90))
    sample = celeba(tmp_path.iterdir())[Place(0, 0)]
    assert sample["hr"].shape == (128, 128, 3) and sample["notes"][0][0::2] == ("small", "100x90 pixels")
    refused = celeba(tmp_path.iterdir(), min_size=91)[Place(0, 0)]
    assert refused["notes"][0][0] == "bad" and "smaller than --min_size 91" in refused["notes"][0][2]


def test_single_enlarges_by_bicubic_and_finds_references(tmp_path):
    lr = write_faces(tmp_path / "lr", 2, size=(16, 16))
    hr = write_faces(tmp_path / "hr" / "deep", 2, size=(128, 128), first_seed=9)
    for path in list(hr.iterdir()):
        path.rename(path.with_suffix(".bmp"))
    lr_paths, hr_paths = (sorted(map(str, f.iterdir())) for f in (lr, hr))
    sample = SingleDataset(lr_paths, 128, references=hr_paths)[Place(0, 1)]
    small = Image.open(lr_paths[1])
    assert np.array_equal(sample["lr"], np.asarray(small.resize((128, 128), Image.Resampling.BICUBIC)))
    assert "hr" not in SingleDataset(lr_paths, 128)[Place(0, 1)]
    with pytest.raises(UserError, match=r"--gtroot: one reference named 001\.\* is needed.*there is none"):
        SingleDataset(lr_paths, 128, references=hr_paths[:1])


def test_tensor_range():
    batch = torch.tensor([0, 255, 51], dtype=torch.uint8).view(1, 1, 1, 3)
    tensor = to_tensor_range(batch)
    assert tensor.shape == (1, 3, 1, 1) and tensor.dtype == torch.float32
    torch.testing.assert_close(tensor.flatten(), torch.tensor([-1.0, 1.0, -0.6]))


def test_unknown_dataset_and_scale():
    with pytest.raises(UserError, match="--dataset_name celebb.*Did you mean celeba"):
        find_dataset("celebb")
    with pytest.raises(UserError, match="--load_size 100 is not a multiple of --scale_factor 8"):
        celeba([], load_size=100)


def test_a_program_that_fails_does_not_wait_for_its_workers(faces):
    program = (f"from data.celeba_dataset import CelebADataset\n"
               f"from data.loader import TrainingOrder, make_loader\n"
               f"from utils.images import list_images\n"
               f"faces = CelebADataset(list_images({str(faces)!r}, 'FACES'), 32, 8)\n"
               f"batches = iter(make_loader(faces, TrainingOrder(len(faces), 2, 50), workers=1))\n"
               f"next(batches)\n"
               f"raise ValueError('something unforeseen')\n")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60,
                          cwd=Path(__file__).parents[1])
    assert done.returncode == 1 and done.stderr.splitlines()[-1] == "ValueError: something unforeseen"
