# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The datasets of GPEN's tasks: inputs, targets and flips."""
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from data import degradations as d
from data import find_dataset, input_reader
from data.drawn.builtin_faces import draw_face
from data.drawn.builtin_faces import write_faces as draw_faces
from data.face_folder import Place
from data.face_parts import CLASSES
from data.holes import KINDS, random_box, random_holes, random_stroke
from data.seg2face_dataset import PALETTE
from tests.helpers.faces import make_official, write_faces
from utils.errors import UserError
from utils.images import centre_square, resize

COUNT, SIZE = 4, 64
TASKS = ("blind", "blind_hard", "colorization", "inpainting", "seg2face")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "faces"
    draw_faces(folder, COUNT, 0, SIZE)
    return folder


def open_set(name, root, load_size=SIZE, augmentation="none", **options):
    kind = find_dataset(name)
    return kind(kind.list_faces(str(root), "--dataroot"), load_size, 8, augmentation, **options)


def is_grey(picture):
    return not np.ptp(picture, axis=2).any()


@pytest.mark.parametrize("name", TASKS)
def test_samples_come_from_seed_epoch_and_index_and_half_are_flipped(drawn, name, monkeypatch):
    kind = find_dataset(name)
    fast = kind.default_degradation._replace(smallest_face=SIZE)
    monkeypatch.setattr(kind, "default_degradation", fast)
    faces, others = (open_set(name, drawn / "images", augmentation="fixed", seed=5) for _ in range(2))
    upright = d.grey(draw_face(1, SIZE).image)
    flips, count = 0, 40
    for epoch in range(count):
        one, again = (s[Place(epoch, 1)] for s in (faces, others))
        for picture in ("lr", "hr"):
            assert one[picture].shape == (SIZE, SIZE, 3) and one[picture].dtype == np.uint8
            assert np.array_equal(one[picture], again[picture])
        flipped = np.array_equal(d.grey(one["hr"]), upright[:, ::-1])
        assert flipped or np.array_equal(d.grey(one["hr"]), upright)
        flips += flipped
    assert 9 <= flips <= 31


@pytest.mark.parametrize("load_size", [64, 512, 600])
@pytest.mark.parametrize("name, chain", [("blind", d.degrade_gpen), ("blind_hard", d.degrade_hard)])
def test_blind_is_the_chain_at_512_pixels_or_more(tmp_path, name, chain, load_size):
    write_faces(tmp_path, 2, size=(700, 640))
    image = Image.open(tmp_path / "001.png")
    side = max(load_size, 512)
    square = cv2.resize(np.asarray(image.crop(centre_square(image.size))), (side, side), interpolation=cv2.INTER_AREA)
    hr, lr, _ = chain(square, np.random.default_rng([5, 2, 1]))
    if load_size < 512:
        hr, lr = (cv2.resize(x, (load_size, load_size), interpolation=cv2.INTER_AREA) for x in (hr, lr))
    sample = open_set(name, tmp_path, load_size, seed=5)[Place(2, 1)]
    assert np.array_equal(sample["hr"], hr) and np.array_equal(sample["lr"], lr)


def test_colorization_takes_the_colour_away(drawn):
    sample = open_set("colorization", drawn / "images")[Place(0, 2)]
    face = draw_face(2, SIZE).image
    assert np.array_equal(sample["hr"], face) and is_grey(sample["lr"])
    assert np.abs(sample["lr"][..., 0].astype(int) - np.asarray(Image.fromarray(face).convert("L"))).max() <= 1


def test_inpainting_makes_white_holes_and_nothing_else(drawn):
    faces = open_set("inpainting", drawn / "images", seed=3)
    masks = []
    for epoch in range(6):
        sample = faces[Place(epoch, 1)]
        holes = random_holes(SIZE, np.random.default_rng([3, epoch, 1]))
        assert np.array_equal(sample["hr"], draw_face(1, SIZE).image)
        assert (sample["lr"][holes] == 255).all() and np.array_equal(sample["lr"][~holes], sample["hr"][~holes])
        masks.append(holes)
    assert not np.array_equal(masks[0], masks[1])


def test_holes_are_of_moderate_size_everywhere_and_of_every_kind(monkeypatch):
    holes = np.array([random_holes(64, np.random.default_rng([1, i])) for i in range(600)])
    assert holes.dtype == bool and holes.shape[1:] == (64, 64)
    shares = holes.mean((1, 2))
    assert shares.min() > 0 and shares.max() < 0.75 and 0.15 < shares.mean() < 0.25
    where = holes.reshape(600, 4, 16, 4, 16).mean((0, 2, 4))
    assert where.min() > 0.1 and where.max() < 0.35
    for turned in (where[::-1], where[:, ::-1], where.T):  # no edge or direction is preferred
        assert np.abs(where - turned).max() < 0.07
    large = random_holes(512, np.random.default_rng(4))
    assert (large[1::2, 1::2] != random_holes(256, np.random.default_rng(4))).mean() < 0.02
    calls = []
    for part, function in (("stroke", random_stroke), ("box", random_box)):
        monkeypatch.setattr(f"data.holes.random_{part}",
                            lambda rng, part=part, function=function: calls.append(part) or function(rng))
    kinds = []
    for i in range(600):
        calls.clear()
        random_holes(16, np.random.default_rng([1, i]))
        assert all(1 <= calls.count(part) <= 3 for part in set(calls))
        kinds.append("both" if len(set(calls)) == 2 else {"stroke": "strokes", "box": "boxes"}[calls[0]])
    for kind, probability in KINDS.items():
        allowed = 4 * (probability * (1 - probability) / 600) ** 0.5
        assert kinds.count(kind) / 600 == pytest.approx(probability, abs=allowed)


def test_strokes_and_boxes_keep_their_ranges():
    strokes = [random_stroke(np.random.default_rng(i)) for i in range(400)]
    points = [p for p, _ in strokes]
    assert {len(p) for p in points} == set(range(9, 29))  # 8 to 27 steps
    assert all(p.min() >= 0 and p.max() <= 1 for p in points)
    widths = 1024 * np.array([w for _, w in strokes])
    assert 12 <= widths.min() < 15 and 77 < widths.max() <= 80
    steps = np.concatenate([np.hypot(*np.diff(p, axis=0).T) for p in points])
    boxes = np.array([random_box(np.random.default_rng(i)) for i in range(400)])
    sides = boxes[:, 1] - boxes[:, 0]
    assert boxes.min() >= 0 and boxes.max() <= 1 and 1 / 8 <= sides.min() < 0.13 and 0.37 < sides.max() <= 3 / 8
    assert steps.max() <= 2 ** 0.5 / 4 + 1e-9 and 0.14 < steps.mean() < 0.185


# -- segmentation to face -------------------------------------------------------------------------------------------

def test_the_palette_is_that_of_celebamask():
    colours = dict(zip(CLASSES, PALETTE.tolist(), strict=True))
    assert colours["background"] == [0, 0, 0] and colours["skin"] == [204, 0, 0] and colours["l_eye"] == [51, 51, 255]
    assert colours["r_eye"] == [204, 0, 204] and colours["hair"] == [0, 0, 204] and colours["cloth"] == [0, 204, 0]
    assert len({tuple(c) for c in colours.values()}) == 19


@pytest.mark.parametrize("load_size", [64, 32])
def test_seg2face_shows_the_exact_map_of_a_builtin_face(drawn, load_size):
    faces = open_set("seg2face", drawn, load_size)
    face = draw_face(2, SIZE)
    sample = faces[Place(0, 2)]
    assert len(faces) == COUNT and not faces.warnings
    if load_size == SIZE:
        assert np.array_equal(sample["lr"], PALETTE[face.parsing]) and np.array_equal(sample["hr"], face.image)
    else:  # each pixel equals one of the source pixels that it covers
        blocks = PALETTE[face.parsing].reshape(32, 2, 32, 2, 3)
        assert (sample["lr"][:, None, :, None] == blocks).all(4).any((1, 3)).all()


def test_a_flip_exchanges_left_and_right(drawn):
    faces = open_set("seg2face", drawn, augmentation="fixed")
    face = draw_face(1, SIZE)
    swap = {name: name.replace("l_", "r_", 1) if name.startswith("l_") else name.replace("r_", "l_", 1)
            for name in ("l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear")}
    mirrored = face.parsing[:, ::-1].copy()
    for name, other in swap.items():
        mirrored[face.parsing[:, ::-1] == CLASSES.index(name)] = CLASSES.index(other)
    seen = set()
    for epoch in range(12):
        sample = faces[Place(epoch, 1)]
        flipped = np.array_equal(sample["hr"], face.image[:, ::-1])
        assert flipped or np.array_equal(sample["hr"], face.image)
        assert np.array_equal(sample["lr"], PALETTE[mirrored if flipped else face.parsing])
        seen.add(flipped)
    assert seen == {True, False}


def test_celebamask_as_published_gives_the_same_maps(tmp_path, drawn):
    root = make_official(tmp_path / "hq", lambda n: str(n % 2), 2)
    faces, maps = open_set("seg2face", root), open_set("seg2face", drawn)
    assert len(faces) == 3
    for i in range(3):
        assert np.array_equal(faces[Place(0, i)]["lr"], maps[Place(0, i)]["lr"])
    overlay = np.asarray(Image.open(root / "CelebAMask-HQ-mask-anno/1/00001_skin.png"))
    Image.fromarray(np.full_like(overlay, 255)).save(root / "CelebAMask-HQ-mask-anno/1/00001_hair.png")
    everywhere = open_set("seg2face", root)[Place(0, 1)]["lr"]  # hair covers skin; cloth covers hair
    shown = {CLASSES[i] for i in range(19) if (everywhere == PALETTE[i]).all(2).any()}
    assert shown <= {"hair", "hat", "ear_r", "neck_l", "neck", "cloth"} and "hair" in shown
    Image.new("L", (8, 8)).save(root / "CelebAMask-HQ-mask-anno/1/00001_nose.png")
    sample = open_set("seg2face", root)[Place(0, 1)]
    assert sample["replaced"] and "00001_nose.png differs in size" in sample["notes"][0][2]


def test_a_wide_picture_and_its_map_are_cut_alike(tmp_path, drawn):
    shutil.copytree(drawn, tmp_path / "faces")
    for folder in ("images", "masks"):
        path = tmp_path / "faces" / folder / "00000.png"
        wide = Image.open(path)
        canvas = Image.new(wide.mode, (SIZE + 20, SIZE))
        canvas.paste(wide, (10, 0))
        canvas.save(path)
    a, b = (open_set("seg2face", root)[Place(0, 0)] for root in (tmp_path / "faces", drawn))
    assert np.array_equal(a["hr"], b["hr"]) and np.array_equal(a["lr"], b["lr"])


def test_faces_without_a_map_are_left_out_and_named(tmp_path, drawn):
    shutil.copytree(drawn, tmp_path / "faces")
    (tmp_path / "faces" / "masks" / "00002.png").unlink()
    faces = open_set("seg2face", tmp_path / "faces")
    assert [Path(p).name for p in faces.paths] == ["00000.png", "00001.png", "00003.png"]
    assert "1 of 4 pictures" in faces.warnings[0] and faces.warnings[0].endswith("left out: 00002.png")
    shutil.rmtree(tmp_path / "faces" / "masks")
    with pytest.raises(UserError, match="none of the 4 pictures .* is annotated. Looked for CelebA-HQ-img"):
        open_set("seg2face", tmp_path / "faces")


def test_pictures_that_are_no_maps_are_refused(tmp_path, drawn):
    parsing, photograph = draw_face(1, SIZE).parsing, draw_face(1, SIZE).image
    Image.fromarray(PALETTE[parsing]).save(tmp_path / "0.jpg", quality=90)
    Image.fromarray(photograph).save(tmp_path / "1.png")
    Image.fromarray(np.repeat(parsing[..., None], 3, 2)).save(tmp_path / "2.png")
    maps = find_dataset("map_inputs")(sorted(map(str, tmp_path.iterdir())), SIZE, on_bad_image="stop")
    assert maps[Place(0, 0)]["lr"].shape == (SIZE, SIZE, 3)
    for i, reason in ((1, "not a map of face parts"), (2, "grey in three channels; indices have one channel")):
        assert reason in maps[Place(0, i)]["notes"][0][2]


@pytest.mark.parametrize("name", ["grey_inputs", "map_inputs"])
def test_inputs_asked_for_by_their_own_name_are_read_as_such(name):
    assert input_reader(name) is find_dataset(name)


@pytest.mark.parametrize("name", [*TASKS, "ffhq", "celeba"])
def test_maps_beside_the_faces_are_no_faces(tmp_path, drawn, name):
    assert {Path(p).parent.name for p in open_set(name, drawn).paths} == {"images"}
    if name != "seg2face":
        for folder in ("images", "more"):  # without a masks folder, images/ is like any other
            write_faces(tmp_path / folder, 1)
        assert len(open_set(name, tmp_path).paths) == 2


def test_inputs_from_a_folder_are_read_as_the_task_has_them(tmp_path, drawn):
    def inputs(name, folder, load_size=SIZE):
        kind = input_reader(name)
        return kind(kind.list_faces(str(folder), "--dataroot"), load_size)[Place(0, 1)]["lr"]

    face = draw_face(1, SIZE)
    made = open_set("seg2face", drawn)[Place(0, 1)]["lr"]
    assert np.array_equal(inputs("seg2face", drawn / "masks"), made)
    for i in range(2):
        Image.fromarray(made).save(tmp_path / f"{i}.png")
    assert np.array_equal(inputs("seg2face", tmp_path), made)
    assert {tuple(c) for c in inputs("seg2face", tmp_path, 40).reshape(-1, 3)} <= {tuple(c) for c in PALETTE}
    Image.new("I;16", (8, 8)).save(tmp_path / "0.png")
    kind = find_dataset("map_inputs")
    notes = kind(kind.list_faces(str(tmp_path), "--dataroot"), SIZE)[Place(0, 0)]["notes"]
    assert "one 8-bit channel (mode L or P), but its mode is I;16" in notes[0][2]
    assert np.array_equal(inputs("colorization", drawn / "images"), d.grey(face.image))
    for name in ("blind", "blind_hard", "inpainting"):
        assert np.array_equal(inputs(name, drawn / "images"), face.image)


@pytest.mark.parametrize("name", ["blind", "seg2face"])
def test_the_cache_makes_no_difference_and_is_not_shared_with_another_filter(tmp_path, drawn, name):
    root = drawn if name == "seg2face" else drawn / "images"
    plain = open_set(name, root, 32)[Place(0, 1)]
    for _ in range(2):
        cached = open_set(name, root, 32, cache_folder=tmp_path)[Place(0, 1)]
        assert np.array_equal(cached["lr"], plain["lr"]) and np.array_equal(cached["hr"], plain["hr"])
    assert len(list(tmp_path.iterdir())) == 1
    open_set("ffhq", drawn / "images", 32, cache_folder=tmp_path)[Place(0, 1)]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_small_face_is_enlarged_smoothly(tmp_path):
    write_faces(tmp_path, 1, size=(40, 40))
    image = Image.open(tmp_path / "000.png")
    sample = open_set("colorization", tmp_path, 100)[Place(0, 0)]
    assert np.array_equal(sample["hr"], resize(image, 100)) and sample["notes"][0][0] == "small"


def test_a_run_trains_and_validates_on_maps(train, drawn, tmp_path):
    status, _ = train("--dataset_name", "seg2face", "--cache_folder", tmp_path / "cache", "--val_count", 1,
                           "--train_steps", 2, dataroot=drawn)
    assert status == 0
    assert len(list((tmp_path / "cache").iterdir())) == COUNT
