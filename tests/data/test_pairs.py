# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Dataset and degradation are independent choices: each degradable dataset takes each degradation."""
import cv2
import numpy as np
import pytest

from data import DATASETS, DEGRADATIONS, find_dataset, find_degradation, input_reader, input_title
from data.degradations import degrade_gpen, grey
from data.drawn.builtin_faces import write_faces as draw_faces
from data.face_folder import Place
from data.pairs import DEGRADATION_BY_NAME, area, bicubic
from options.train_options import parse_train
from tests.helpers.faces import make_official, open_set
from utils.errors import UserError
from utils.images import read_rgb, resize

STAND_FOR = {"ffhq": "sparnethd", "blind": "gpen", "blind_hard": "gpen_hard", "colorization": "grey",
             "inpainting": "holes"}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "faces"
    draw_faces(folder, 4, 0, 64)
    return folder


@pytest.mark.parametrize("name, degradation", STAND_FOR.items())
def test_a_name_stands_for_squares_with_a_degradation(drawn, name, degradation):
    for augmentation in ("none", "fixed"):
        a, b = (open_set(dataset, drawn, augmentation, 32, degradation=asked, seed=3)[Place(1, 2)]
                for dataset, asked in ((name, None), ("ffhq", degradation)))
        assert all(np.array_equal(a[part], b[part]) for part in ("lr", "hr"))


def test_the_options_name_what_there_is():
    assert tuple(DEGRADATION_BY_NAME) == DEGRADATIONS


@pytest.mark.parametrize("degradation", DEGRADATION_BY_NAME)
@pytest.mark.parametrize("name", ["celeba", "ffhq", "builtin", "celebamask", "landmarks68"])
def test_every_dataset_takes_every_degradation(drawn, name, degradation):
    sample = open_set(name, drawn, "fixed", 32, degradation=degradation, seed=1)[Place(0, 1)]
    assert sample["lr"].shape == sample["hr"].shape == (32, 32, 3) and not sample["replaced"]
    assert not np.array_equal(sample["lr"], sample["hr"])


@pytest.mark.parametrize("augmentation", ["none", "fixed", "upstream"])
def test_lr_is_degraded_while_priors_follow_the_crop(tmp_path, augmentation):
    """With GPEN's degradation, CelebAMask-HQ's crop, flip and priors equal those of the bicubic sample."""
    root = make_official(tmp_path / "hq", lambda n: str(n % 2))
    plain, blind = (open_set("celebamask", root, augmentation, 64, degradation=d, seed=2) for d in ("bicubic", "gpen"))
    greys = 0
    for epoch in range(8):
        a, b = plain[Place(epoch, 1)], blind[Place(epoch, 1)]
        assert np.array_equal(a["priors"], b["priors"]) and b["priors"].any()
        greys += not np.ptp(b["hr"], axis=2).any()
        assert np.abs(grey(a["hr"]).astype(int) - grey(b["hr"])).mean() < 4  # same crop and flip, another resize
        assert not np.array_equal(a["lr"], b["lr"]) and not np.array_equal(b["lr"], b["hr"])
    assert 0 < greys < 8  # p = 0.2; the target is grey, too


def test_a_face_is_degraded_at_the_size_that_the_chain_counts_in(drawn):
    sample = open_set("celeba", drawn / "images", "none", 64, degradation="gpen", seed=5)[Place(2, 1)]
    face = np.asarray(resize(read_rgb(drawn / "images" / "00001.png"), 512))
    hr, lr, _ = degrade_gpen(face, np.random.default_rng([5, 2, 1]))
    for part, expected in (("hr", hr), ("lr", lr)):
        assert np.array_equal(sample[part], cv2.resize(expected, (64, 64), interpolation=cv2.INTER_AREA))
    assert area(face, 512) is not None and np.array_equal(bicubic(face, 512), face)


def test_squares_may_be_small_faces_too(drawn):
    sample = open_set("ffhq", drawn / "images", "none", 64, degradation="bicubic")[Place(0, 1)]
    other = open_set("celeba", drawn / "images", "none", 64)[Place(0, 1)]
    assert all(np.array_equal(sample[part], other[part]) for part in ("lr", "hr"))
    with pytest.raises(UserError, match="--load_size 60 is not a multiple of --scale_factor 8"):
        open_set("ffhq", drawn / "images", "none", 60, degradation="bicubic")
    assert open_set("celeba", drawn / "images", "none", 60, degradation="holes")[Place(0, 1)]["lr"].shape[0] == 60


@pytest.mark.parametrize("name, degradation, title, reader", [
    ("celeba", None, "bicubic", "single"), ("celeba", "gpen", "input", "single"), ("celebamask", "grey", "input",
                                                                                 "grey_inputs"),
    ("blind", None, "input", "single"), ("ffhq", "bicubic", "bicubic", "single"), ("colorization", None, "input",
                                                                                  "grey_inputs"),
    ("seg2face", None, "input", "map_inputs"), ("single", None, "bicubic", "single")])
def test_inputs_are_read_and_called_as_the_degradation_has_it(name, degradation, title, reader):
    assert input_title(name, degradation) == title
    assert input_reader(name, degradation) is find_dataset(reader)


@pytest.mark.parametrize("words, message", [
    ("--dataset_name seg2face --degradation gpen", "--degradation gpen: --dataset_name seg2face does not degrade"),
    ("--degradation gppen", "--degradation: invalid choice: 'gppen'"),
    ("--degradation gpen --scale_factor 4", "--scale_factor is not read here: --degradation gpen makes no small faces"),
    ("--dataset_name blind --scale_factor 4", "--scale_factor is not read here: --dataset_name blind makes no small"),
    ("--dataset_name seg2face --scale_factor 4", "--scale_factor is not read here: --dataset_name seg2face makes no"),
    ("--degradation gpen --cache_folder x", "--cache_folder is not read here: --dataset_name celeba")])
def test_what_makes_no_sense_is_one_clear_line(words, message):
    with pytest.raises(UserError, match=message) as error:
        parse_train(words.split())
    assert "\n" not in str(error.value)


def test_unknown_degradations_and_those_of_every_dataset():
    with pytest.raises(UserError, match="--degradation gppen: there are bicubic.*Did you mean gpen"):
        find_degradation("celeba", "gppen")
    for name in DATASETS:
        found = find_degradation(name)
        assert (found in DEGRADATION_BY_NAME.values()) == find_dataset(name).degradable == (found is not None)
        if found:
            assert found is DEGRADATION_BY_NAME[(STAND_FOR | {"face128": "face128"}).get(name, "bicubic")]


def test_the_command_line_and_files_agree_on_what_is_meant(tmp_path):
    def meant(*words):
        options = parse_train(list(words))
        return options.dataset_name, options.degradation
    assert meant("--preset", "gpen_blind") == ("blind", None)
    assert meant("--preset", "gpen_blind", "--dataset_name", "celeba") == ("celeba", None)  # celeba's default: bicubic
    assert meant("--preset", "gpen_blind", "--degradation", "gpen_hard") == ("blind", "gpen_hard")
    path = tmp_path / "mine.yml"
    path.write_text("model: fsrnet\ndataset_name: celebamask\ndegradation: gpen\n")
    assert meant("--preset", str(path)) == ("celebamask", "gpen")
    assert meant("--preset", str(path), "--dataset_name", "helen") == ("helen", "gpen")
    assert meant("--preset", str(path), "--dataset_name", "colorization") == ("colorization", None)
    assert meant("--preset", str(path), "--dataset_name", "seg2face", "--lambda_prior", "0") == ("seg2face", None)
