# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""--pretrained auto takes the weights that were trained on the sizes of most images."""
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from options.export_options import parse_export
from options.photo_options import photo_parser
from options.test_options import parse_test
from restore import choice, photo_weights
from restore.description import Description, read_metadata
from restore.face_finder import Face
from restore.page.__main__ import page_parser
from restore.photo import PhotoRestorer
from restore.restorer import Restorer
from tests.helpers.paths import ROOT
from utils import pretrained
from utils.errors import UserError
from utils.images import resize, save_image
from utils.pretrained import find_pretrained

KNOWN = {"small": Description(input_size=128, scale_factor=8),
         "blind": Description(input_size=128, task="face128"),
         "large": Description(input_size=512, task="blind")}


@pytest.mark.parametrize("sides, name", [
    ({16: 5}, "small"), ({16: 5, 17: 5}, "blind"), ({12: 1, 128: 1}, "blind"), ({16: 3, 300: 2}, "large"),
    ({8: 9}, "large"), ({600: 9}, "large")])
def test_the_most_special_weights_that_fit_most_images(sides, name):
    assert choice.choose(sides, KNOWN) == name


def test_weights_of_another_task_are_never_chosen(monkeypatch):
    described = KNOWN | {"colours": Description(input_size=128, task="colorization"),
                         "holes": Description(input_size=300, task="inpainting"),
                         "grey": Description(input_size=300, task="ffhq", degradation="grey")}
    assert [choice.choose({side: 1}, described) for side in (100, 128, 300)] == ["blind", "blind", "large"]
    monkeypatch.setattr(photo_weights, "find_pretrained", lambda name: name)
    monkeypatch.setattr(photo_weights, "pretrained_names", lambda: list(described))
    monkeypatch.setattr(photo_weights, "read_metadata", described.get)
    assert list(photo_weights.photo_weights("auto", None)) == ["blind", "large"]
    del described["blind"], described["large"]
    assert list(photo_weights.photo_weights(None, None)) == ["small"]


def test_if_none_fits_it_is_the_nearest():
    known = {name: KNOWN[name] for name in ("small", "blind")} | {"face256": read_metadata(find_pretrained("face256"))}
    assert [choice.choose({side: 1}, known) for side in (8, 600)] == ["blind", "face256"]


@pytest.mark.parametrize("side, limits, kept, name, skipped", [
    (8, {}, None, "face128", "too small: 8.0 pixels, 9.0 are needed"), (8, {"min_face": 4}, None, "face128", None),
    (20, {}, None, "face128", None), (128, {}, None, "face128", None), (132, {}, None, "face256", None),
    (360, {}, None, "face256", None), (360, {"max_face": 900}, None, "face256", None),
    (138, {}, "face128", "face128", None), (144, {}, "face128", "face256", None), (60, {}, "face256", "face256", None),
    (8.5, {}, "face128", "face128", None), (420, {}, "face256", "face256", None)])
def test_a_face_gets_the_weights_trained_on_its_side_as_they_cut_it(side, limits, kept, name, skipped):
    """side: of face128's square around the face (CelebA), which is larger than that of face256 (FFHQ).

    kept: weights of the same face a moment ago.
    """
    both = {name: Restorer.load(name, "cpu") for name in ("face128", "face256")}
    template = np.array([(0.34, 0.46), (0.66, 0.46), (0.5, 0.64), (0.37, 0.82), (0.63, 0.82)])
    face = Face(template * 100, (0, 0, 100, 100), 1.0, 1.0, 0.0)
    celeba = PhotoRestorer({"face128": both["face128"]}).judge(face).side
    found = PhotoRestorer(both, **limits).judge(face._replace(points=face.points * side / celeba), kept)
    assert (found.weights, found.skipped) == (name, skipped)


@pytest.mark.parametrize("side, taken", [(17, True), (100, True), (16, False), (12, False)])
def test_a_face_with_more_detail_than_the_network_knows_is_taken_to_the_size_of_its_training(side, taken, monkeypatch):
    photo = np.random.default_rng(0).integers(0, 256, (160, 160, 3), dtype=np.uint8)
    face = Face(np.array([(0.34, 0.46), (0.66, 0.46), (0.5, 0.64), (0.37, 0.82), (0.63, 0.82)]) * 100,
                (0, 0, 100, 100), 1.0, 1.0, 0.0)
    both = {name: PhotoRestorer({name: Restorer.load(name, "cpu")}, min_face=1, max_face=900)
            for name in ("sparnet", "face128")}
    face = face._replace(points=face.points * (side - 0.01) / both["sparnet"].judge(face).side)
    for name, restore in both.items():
        seen = []
        monkeypatch.setattr(restore.restorers[name], "restore_inputs",
                            lambda inputs, seen=seen: seen.extend(inputs) or inputs)
        found, = restore.restore([restore.cut(photo, restore.judge(face))])
        small = np.asarray(resize(resize(Image.fromarray(found.crop.aligned), 16), 128))
        assert np.array_equal(*seen, small if taken and name == "sparnet" else found.crop.aligned)
        assert np.array_equal(found.crop.restored, *seen)


def test_the_sizes_of_the_training():
    assert [known.trained_sides() for known in KNOWN.values()] == [(16, 16), (12, 128), (0, 512)]
    assert [known.trained_side() for known in KNOWN.values()] == [16, None, None]
    for factor in (3, 200):
        with pytest.raises(UserError, match=f"--load_size 128 is not a multiple of --scale_factor {factor}"):
            Description(scale_factor=factor).trained_side()


def write(folder, *sizes):
    for number, size in enumerate(sizes):
        save_image(np.zeros((*size, 3), np.uint8), folder / f"{number}.png")
    return str(folder)


def test_a_folder_is_judged_by_its_readable_images(tmp_path):
    folder = write(tmp_path / "faces", (16, 20), (16, 16), (60, 40), (500, 500))
    (tmp_path / "faces" / "bad.png").write_bytes(b"none")
    options = parse_test(["--pretrained", "auto", "--dataroot", folder])
    assert (options.name, options.pretrained_note) == (
        "face128", "--pretrained auto: face128, trained on faces of 12 to 128 pixels: 3 of 4 images have such a size.")


def test_results_are_not_judged(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "results" / "sparnet", (60, 60), (60, 60))
    write(tmp_path, (16, 16))
    options = parse_test(["--pretrained", "auto", "--dataroot", "."])
    assert options.pretrained_note.endswith("sparnet, trained on faces of 16 pixels: 1 of 1 images have such a size.")


@pytest.mark.parametrize("parse, words, message", [
    (parse_test, ["--gtroot", "faces"], "auto chooses by the size of the images to restore: give newtest.py --data"),
    (parse_test, ["--dataroot", "none"], "--dataroot: the folder none does not exist"),
    (parse_test, ["--dataroot", "bad"], "--dataroot bad: none of its images can be read"),
    (parse_export, ["--dataroot", "faces"], "--pretrained auto: there are no such weights")])
def test_what_it_cannot_choose_by(tmp_path, monkeypatch, parse, words, message):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "faces", (16, 16))
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "bad.png").write_bytes(b"none")
    with pytest.raises(UserError, match=message):
        parse(["--pretrained", "auto", *words])


def test_images_outside_of_the_trained_sizes_are_named(weights):
    described = Restorer.load(weights[0], "cpu").description
    blind = Restorer.load(weights[0], "cpu", description=replace(described, task="face128"))
    assert blind.size_note({12: 3, 32: 1}) is None
    assert blind.size_note({8: 2, 40: 1}) == (
        "1 images (1 of 40 pixels): reduced to 32 pixels, the size of the network; 2 images (2 of 8 pixels): smaller "
        "than the faces of the training, of 12 pixels or more; restored badly.")


def test_the_commands_for_photos_name_the_weights_that_they_take():
    """color128 colours grey faces; photos are refused with it."""
    for parser in (photo_parser(), page_parser()):
        text = " ".join(parser.format_help().split())
        assert "face128, face256, sparnet; or auto" in text and "color128" not in text


def test_the_names_for_photos_need_neither_torch_nor_whole_files(tmp_path, monkeypatch):
    command = ("import sys; from options.photo_options import photo_parser; photo_parser(); "
               "from restore.page.__main__ import page_parser; page_parser(); sys.exit('torch' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", command], cwd=ROOT).returncode == 0
    for name in ("face128", "color128"):
        shutil.copytree(photo_weights.FOLDER / name, tmp_path / name)
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "generator.safetensors").write_bytes(b"version https://git-lfs")
    for module in (photo_weights, pretrained):
        monkeypatch.setattr(module, "FOLDER", tmp_path)
    assert photo_weights.photo_names() == ["cut", "face128"]
