# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Datasets with priors: folder layouts, missing annotation, and priors that follow the crop and flip."""
import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data import find_dataset
from data.celeba_dataset import CelebADataset
from data.drawn.builtin_faces import draw_face, write_faces
from data.face_folder import Place
from data.face_parts import CLASSES, MASK_PARTS, POINTS_68
from data.loader import InOrder, make_loader
from data.priors import cut_parts, draw_parts, heatmaps, move_points
from tests.helpers.faces import make_official, open_set
from tools.show_priors import main
from utils.errors import UserError
from utils.images import centre_square, degrade, list_images, resize

COUNT, SIZE = 6, 64


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "faces"
    write_faces(folder, COUNT, 0, SIZE)
    return folder


@pytest.fixture
def builtin(tmp_path, drawn):
    return Path(shutil.copytree(drawn, tmp_path / "faces"))


def whole(size=SIZE):
    return 0, 0, size, size


def test_builtin_faces_come_with_their_exact_priors(drawn):
    faces = open_set("builtin", drawn, priors="both")
    face = draw_face(2, SIZE)
    sample = faces[Place(0, 2)]
    assert len(faces) == COUNT and not faces.warnings and np.array_equal(sample["hr"], face.image)
    assert sample["priors"].shape == (32, 32, 79) and sample["priors"].dtype == np.uint8
    maps = cut_parts(face.parsing, whole(), 32)
    assert np.array_equal(sample["priors"][..., 68:], maps)
    heat = heatmaps(move_points(face.landmarks, whole(), 32), 32)
    assert np.abs(sample["priors"][..., :68].astype(int) - heat).max() <= 1  # the file is rounded to 0.01 pixel
    assert faces.prior_names("both") == [f"point {i}" for i in range(68)] + list(MASK_PARTS)
    assert np.array_equal(open_set("builtin", drawn)[Place(0, 2)]["priors"], maps)
    assert np.array_equal(open_set("celebamask", drawn)[Place(0, 2)]["priors"], maps)
    only = open_set("builtin", drawn, priors="heatmaps")[Place(0, 2)]["priors"]
    assert np.array_equal(only, sample["priors"][..., :68])
    sample = open_set("landmarks68", drawn)[Place(0, 2)]
    assert sample["priors"].shape == (32, 32, 77) and np.array_equal(sample["priors"][..., :68], only)
    parts = draw_parts(move_points(face.landmarks, whole(), 32), 32, POINTS_68)
    assert np.abs(sample["priors"][..., 68:].astype(int) - parts).mean() < 1


@pytest.mark.parametrize("augmentation", ["none", "fixed"])
def test_faces_are_bit_for_bit_those_of_celeba(drawn, augmentation):
    paths = list_images(str(drawn / "images"), "")
    plain = CelebADataset(paths, 32, 8, augmentation, seed=3)
    for priors in ("parsing", "none"):
        faces = open_set("celebamask", drawn, augmentation, 32, seed=3, priors=priors)
        for place in (Place(e, i) for e in range(3) for i in range(COUNT)):
            a, b = faces[place], plain[place]
            assert np.array_equal(a["hr"], b["hr"]) and np.array_equal(a["lr"], b["lr"])
            assert ("priors" in a) == (priors == "parsing")


def test_priors_follow_crop_and_flip(tmp_path):
    """The image's red and green are the masks of the left and right eye; its blue is a spot at landmark 36."""
    face = draw_face(4, 128)
    red, green = (255 * (face.parsing == CLASSES.index(part)) for part in ("l_eye", "r_eye"))
    y, x = np.mgrid[:128, :128]
    spot = 255 * np.exp(-((x - face.landmarks[36, 0]) ** 2 + (y - face.landmarks[36, 1]) ** 2) / 50)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    Image.fromarray(np.dstack([red, green, spot]).astype(np.uint8)).save(tmp_path / "images" / "a.png")
    Image.fromarray(face.parsing).save(tmp_path / "masks" / "a.png")
    write_csv(tmp_path / "landmarks68.csv", ["file"], [["a.png", *face.landmarks.ravel()]])
    faces = open_set("builtin", tmp_path, "fixed", 128, priors="both")
    names = faces.prior_names("both")
    flips = 0
    for epoch in range(60):
        sample = faces[Place(epoch, 0)]
        seen = np.asarray(sample["hr"], float).reshape(64, 2, 64, 2, 3).mean((1, 3))
        maps = {name: sample["priors"][..., i].astype(float) for i, name in enumerate(names)}
        red_is_right = np.abs(maps["r_eye"] - seen[..., 0]).mean() < np.abs(maps["l_eye"] - seen[..., 0]).mean()
        first, other, point = ("r_eye", "l_eye", 45) if red_is_right else ("l_eye", "r_eye", 36)
        for colour, part in enumerate((first, other)):  # a mirrored left eye is a right eye
            assert np.abs(maps[part] - seen[..., colour]).sum() < 0.2 * seen[..., colour].sum()
        heat = maps[f"point {point}"]
        peaks = [np.argwhere(m >= m.max() - 4).mean(0) for m in (heat, seen[..., 2])]
        assert np.abs(peaks[0] - peaks[1]).max() < 1.5
        assert np.argwhere(maps["l_eye"])[:, 1].mean() > np.argwhere(maps["r_eye"])[:, 1].mean()
        flips += red_is_right
    assert 18 < flips < 42


def test_samples_come_from_seed_epoch_and_index_alone_and_make_batches(drawn):
    a, b = (open_set("builtin", drawn, "fixed", seed=5, priors="both") for _ in range(2))
    reference = {(e, i): a[Place(e, i)]["priors"] for e in range(2) for i in range(COUNT)}
    assert all(np.array_equal(b[Place(*place)]["priors"], reference[place]) for place in reversed(reference))
    assert not np.array_equal(reference[0, 1], reference[1, 1])
    batch, = make_loader(a, InOrder(COUNT, COUNT), workers=1)
    assert batch["priors"].shape == (COUNT, 32, 32, 79) and batch["priors"].dtype == torch.uint8
    assert np.array_equal(batch["priors"][3], reference[0, 3])


def test_upstream_squashes_and_neither_flips_nor_crops(builtin):
    path = builtin / "images" / "00000.png"
    wide = Image.open(path).resize((96, 64))
    wide.save(path)
    Image.open(builtin / "masks" / "00000.png").resize((96, 64), Image.Resampling.NEAREST).save(
        builtin / "masks" / "00000.png")
    squashed = open_set("celebamask", builtin, "upstream")
    for epoch in range(8):
        sample = squashed[Place(epoch, 0)]
        assert np.array_equal(sample["hr"], np.asarray(resize(wide, 64)))
        assert np.array_equal(sample["lr"], np.asarray(degrade(resize(wide, 64), 8)))
    original = cut_parts(draw_face(0, SIZE).parsing, whole(), 32)
    assert np.abs(sample["priors"].astype(int) - original).mean() < 6
    cropped = open_set("celebamask", builtin)[Place(0, 0)]  # the centre square
    assert np.array_equal(cropped["hr"], np.asarray(resize(wide, 64, centre_square(wide.size))))


# -- CelebAMask-HQ ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("folder_of, scale", [(lambda n: str(n % 2), 1), (lambda n: "merged", 2), (lambda n: "", 1)])
def test_official_celebamask(tmp_path, drawn, folder_of, scale):
    root = make_official(tmp_path / "hq", folder_of, scale)
    faces, maps = open_set("celebamask", root), open_set("celebamask", drawn)
    assert [Path(path).name for path in faces.paths] == ["0.jpg", "1.jpg", "2.jpg"] and not faces.warnings
    for i in range(3):
        assert np.array_equal(faces[Place(0, i)]["priors"], maps[Place(0, i)]["priors"])
    faces, maps = (open_set("celebamask", r, "fixed", seed=1) for r in (root, drawn))
    a, b = (s[Place(0, 1)]["priors"].astype(int) for s in (faces, maps))
    assert np.abs(a - b).max() <= 1  # masks of another size give the same maps
    for file in (root / "CelebAMask-HQ-mask-anno").rglob("00001_*.png"):
        if "skin" not in file.name:
            file.unlink()
    left = open_set("celebamask", root)[Place(0, 1)]["priors"]
    assert left[..., 0].any() and not left[..., 1:].any()


def test_index_maps_with_a_palette_are_indices(builtin, drawn):
    for file in (builtin / "masks").iterdir():
        coloured = Image.open(file).convert("P")
        coloured.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
        coloured.save(file)
    a, b = open_set("celebamask", builtin), open_set("celebamask", drawn)
    assert np.array_equal(a[Place(0, 3)]["priors"], b[Place(0, 3)]["priors"])


def test_faces_without_masks_are_left_out_and_named(builtin):
    for name in ("00001.png", "00004.png"):
        (builtin / "masks" / name).unlink()
    faces = open_set("celebamask", builtin)
    assert [Path(p).name for p in faces.paths] == ["00000.png", "00002.png", "00003.png", "00005.png"]
    assert len(faces) == 4 and len(faces.warnings) == 1
    assert "2 of 6 pictures" in faces.warnings[0] and faces.warnings[0].endswith("left out: 00001.png, 00004.png")
    for name in ("00000.png", "00002.png"):
        (builtin / "masks" / name).unlink()
    assert open_set("celebamask", builtin).warnings[0].endswith("left out: 00000.png, 00001.png, 00002.png, ...")
    shutil.rmtree(builtin / "masks")
    with pytest.raises(UserError, match="none of the 6 pictures below .* is annotated. Looked for CelebA-HQ-img/"
                                        "N.jpg with CelebAMask-HQ-mask-anno.* images/NAME.jpg with masks/NAME.png"):
        open_set("celebamask", builtin)
    assert len(open_set("celebamask", builtin, priors="none")) == 6
    with pytest.raises(UserError, match="--priors heatmaps: this dataset has parsing maps only"):
        open_set("celebamask", builtin, priors="heatmaps")


@pytest.mark.parametrize("spoil, reason", [
    (lambda file: file.write_bytes(b"broken"), "cannot identify"),
    (lambda file: Image.fromarray(np.full((8, 8), 200, np.uint8)).save(file), "class 200 where 0 to 18 are expected"),
    (lambda file: Image.new("RGB", (8, 8)).save(file), "one 8-bit channel (mode L or P), but its mode is RGB"),
    (lambda file: Image.new("L", (66, 64)).save(file), "64x64 pixels, but its mask has 66x64: another shape"),
])
def test_a_damaged_mask_is_a_bad_image(builtin, spoil, reason):
    spoil(builtin / "masks" / "00002.png")
    faces = open_set("celebamask", builtin)
    sample = faces[Place(0, 2)]
    (kind, path, why), = sample["notes"]
    assert sample["replaced"] and kind == "bad" and Path(path).name == "00002.png" and reason in why
    assert np.array_equal(sample["priors"], faces[Place(0, 3)]["priors"])


# -- 68 landmarks -------------------------------------------------------------------------------------------------

def write_csv(path, columns, rows, encoding="utf-8"):
    with open(path, "w", newline="", encoding=encoding) as stream:
        csv.writer(stream).writerows([[*columns, *(f"{a}{i}" for i in range(68) for a in "xy")], *rows])


def landmarks(seed):
    return draw_face(seed, SIZE).landmarks.round(1)


@pytest.fixture
def split_faces(tmp_path, drawn):
    """Copies faces 0, 1, 2 to faces/train/deep/a.png .. c.png and faces 3, 4, 5 to faces/test/deep/a.png .. c.png."""
    for i in range(COUNT):
        target = tmp_path / "faces" / ("train" if i < 3 else "test") / "deep" / f"{'abc'[i % 3]}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(drawn / "images" / f"{i:05d}.png", target)
    return tmp_path / "faces"


def shown(faces):
    """Returns {relative path: priors} of a dataset."""
    return {"/".join(Path(path).parts[-3:]): faces[Place(0, i)]["priors"] for i, path in enumerate(faces.paths)}


@pytest.mark.parametrize("kind", ["csv", "npz"])
def test_landmarks_by_split_and_name(split_faces, kind):
    rows = [("train" if i < 3 else "test", "abc"[i % 3], landmarks(i)) for i in range(COUNT)]
    if kind == "csv":
        write_csv(split_faces / "landmarks68.csv", ["split", "person", "name"],
                  [[split, "somebody", name, *points.ravel()] for split, name, points in rows], "utf-8-sig")
    else:
        tenths = np.array([points * 10 for _, _, points in rows]).round().astype(np.int16)
        np.savez(split_faces / "landmarks68.npz", split=[r[0] for r in rows], name=[f"{r[1]}.jpg" for r in rows],
                 landmarks_x10=tenths, max_disagreement_px=np.array([1, 10, 2, 10.5, 3, 4], np.float16))
    maps = shown(open_set("landmarks68", split_faces, priors="heatmaps"))
    dropped = {"test/deep/a.png"} if kind == "npz" else set()  # its detectors disagree by 10.5 pixels
    assert set(maps) == {f"{s}/deep/{n}.png" for s in ("train", "test") for n in "abc"} - dropped
    for split, name, points in rows:
        if f"{split}/deep/{name}.png" in maps:
            expected = heatmaps(move_points(points, whole(), 32), 32)
            assert np.abs(maps[f"{split}/deep/{name}.png"].astype(int) - expected).max() <= 1
    part = shown(open_set("landmarks68", split_faces / "train", priors="heatmaps"))  # file in the parent folder
    assert {path: m.tobytes() for path, m in part.items()} == {
        path: m.tobytes() for path, m in maps.items() if path.startswith("train")}


def test_landmarks_by_path_and_by_name(split_faces):
    points = [landmarks(i).ravel() for i in range(COUNT)]
    np.savez(split_faces / "landmarks.npz", name=["test/deep/a", "train/deep/b.png", "train/deep/c"],
             landmarks=np.reshape(points[3:], (3, 68, 2)))
    assert set(shown(open_set("landmarks68", split_faces))) == {
        "test/deep/a.png", "train/deep/b.png", "train/deep/c.png"}
    rows = [["c", *points[0]], ["b", *[float("nan")] * 136]]
    write_csv(split_faces / "landmarks68.csv", ["file"], rows)  # takes precedence over .npz
    with pytest.raises(UserError, match=r"test/deep/c.png and .*train/deep/c.png have one annotation between them"):
        open_set("landmarks68", split_faces)
    faces = open_set("landmarks68", split_faces / "test")
    assert set(shown(faces)) == {"test/deep/c.png"}
    assert "2 of 3 pictures" in faces.warnings[0]


def test_folders_of_masks_hold_no_faces(drawn):
    found = find_dataset("landmarks68").list_faces(str(drawn), "--dataroot")
    assert sorted(Path(path).parent.name for path in found) == ["images"] * COUNT


def test_broken_landmark_files_are_told(split_faces):
    def refused(match):
        with pytest.raises(UserError, match=match):
            open_set("landmarks68", split_faces)
    refused("none of the 6 pictures .* Looked for one of landmarks68.csv, landmarks68.npz, landmarks.csv")
    file = split_faces / "landmarks68.csv"
    file.write_text("file,x0,y0\na,1,2\n")
    refused(r"landmarks68.csv: the columns file \(or name\), x0, y0, x1, y1 .. x67, y67 are needed")
    write_csv(file, ["file"], [["a", *range(136)], ["b", *range(135)]])
    refused("landmarks68.csv, line 3: 68 pairs of numbers are expected")
    write_csv(file, ["file"], [["a.png", *range(136)], ["a.jpg", *range(136)]])
    refused("landmarks68.csv: there are two rows for a")
    write_csv(file, ["file"], [["z", *range(136)]])
    refused("none of the 6 pictures")
    write_csv(file, ["file"], [])
    file.write_text(file.read_text().strip() + ",split\n" + ",".join(["a", *map(str, range(136))]))
    refused("landmarks68.csv, line 2: .* a value for each of the header's columns")
    file.unlink()
    npz, points = split_faces / "landmarks.npz", np.zeros((1, 68, 2))
    for arrays in ({"name": ["a"], "landmarks": points[:, :5]}, {"name": ["a"]}, {"landmarks": points},
                   {"name": "a", "landmarks": points[0]}, {"name": ["a"], "landmarks": points, "split": ["x", "y"]},
                   {"name": ["a"], "landmarks": points, "max_disagreement_px": [1, 2]}):
        np.savez(npz, **arrays)
        refused(r"landmarks.npz: the arrays name \[N\] and landmarks \[N, 68, 2\] \(or landmarks_x10\) are needed")
    npz.write_bytes(b"PK broken")
    refused("landmarks.npz: cannot be read")
    with open(npz, "wb") as stream:
        np.save(stream, points)  # one array, not an archive
    refused("landmarks.npz: cannot be read")
    np.savez_compressed(npz, name=["a"], landmarks=np.random.default_rng(0).normal(size=points.shape))
    spoiled = bytearray(npz.read_bytes())
    spoiled[len(spoiled) // 2:len(spoiled) // 2 + 99] = bytes(99)
    npz.write_bytes(spoiled)
    refused("landmarks.npz: cannot be read")


def test_blanks_in_a_table_do_not_matter(split_faces):
    write_csv(split_faces / "landmarks68.csv", ["file"], [[], ["test/deep/a ", *landmarks(3).ravel()], []])
    assert set(shown(open_set("landmarks68", split_faces))) == {"test/deep/a.png"}


@pytest.mark.parametrize("points", [landmarks(3) + 100, np.full((68, 2), 5.0)], ids=["outside", "in one place"])
def test_landmarks_that_make_no_face_are_bad(split_faces, points):
    rows = [["test/deep/a", *points.ravel()], ["test/deep/b", *landmarks(4).ravel()]]
    write_csv(split_faces / "landmarks68.csv", ["file"], rows)
    sample = open_set("landmarks68", split_faces)[Place(0, 0)]
    (kind, path, why), = sample["notes"]
    assert sample["replaced"] and kind == "bad" and path.endswith("deep/a.png")
    assert "landmarks make no face within its 64x64 pixels" in why


# -- training and tools -------------------------------------------------------------------------------------------

def test_a_training_gets_priors_and_tells_what_is_missing(train, builtin, monkeypatch, capsys):
    from models.sparnet_model import SPARNetModel
    seen = []
    step = SPARNetModel.training_step

    def look(self, batch, number):
        seen.append((batch["priors"].shape, batch["priors"].amin().item(), batch["priors"].amax().item()))
        return step(self, batch, number)
    monkeypatch.setattr(SPARNetModel, "training_step", look)
    (builtin / "masks" / "00001.png").unlink()
    status, folder = train("--dataset_name", "builtin", "--priors", "both", "--val_count", 2, "--train_steps", 2,
                           dataroot=builtin)
    assert status == 0 and len(seen) == 3 and set(seen) == {((3, 79, 16, 16), -1, 1)}  # and a trial at the save
    log = (folder / "train.log").read_text()  # 2 of 6 faces are held out; 1 of the other 4 has no mask
    for words in ("Data: 3 faces", ", 2 to validate on", "warning: 1 of 4 pictures", "left out: 00001.png"):
        assert words in log
    with pytest.raises(UserError, match="--priors is not read here: --dataset_name celeba has no facial priors"):
        train("--priors", "parsing", "--train_steps", 1, name="other")


def test_the_picture_to_look_at(builtin, tmp_path, monkeypatch, capsys):
    (builtin / "masks" / "00001.png").unlink()
    monkeypatch.setattr("sys.argv", ["priors", str(builtin), str(tmp_path / "p.png"), "--dataset_name", "builtin",
                                     "--priors", "both", "--load_size", "64", "--rows", "2", "--columns", "3"])
    main()
    assert Image.open(tmp_path / "p.png").size == (9 * 66 + 2, 2 * 66 + 2)
    out = capsys.readouterr().out
    assert "warning: 1 of 6 pictures" in out and "68 heatmaps; parts: skin, l_brow" in out

    def refused(match, *words):
        monkeypatch.setattr("sys.argv", ["priors", str(builtin), *words])
        with pytest.raises(UserError, match=match):
            main()
    refused("--dataset_name celeba has no priors", "p.png", "--dataset_name", "celeba")
    refused("cannot write .*p.nothing: use an image extension", str(tmp_path / "p.nothing"))
    for file in (builtin / "images").iterdir():
        file.write_bytes(b"broken")
    refused("FACES: too many bad images in a row", str(tmp_path / "q.png"))
    assert f"warning: bad image: {builtin / 'images' / '00000.png'}: " in capsys.readouterr().out
