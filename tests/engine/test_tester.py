# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""newtest.py: compares what it restores, scores and writes with results computed by hand."""
import csv
import json
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from data import find_dataset
from data.drawn.builtin_faces import write_faces as draw_faces
from data.face_folder import Place
from engine import tester
from metrics.protocols import PROTOCOLS, USUAL, choose_protocols
from metrics.psnr_ssim import psnr, score, ssim
from options.test_options import parse_test
from tests.helpers.faces import write_faces
from tests.helpers.runs import restore
from utils.errors import UserError
from utils.files import WriteError
from utils.images import TITLE_HEIGHT, centre_square, degrade, resize, save_image, to_tensor_range


def test_scores_are_those_computed_by_hand(tmp_path, weights, capsys):
    path, net = weights
    faces = write_faces(tmp_path / "faces" / "deep", 5, size=(40, 44))
    folder = restore(tmp_path, path, "--gtroot", tmp_path / "faces", "--batch_size", 2, "--protocols", *PROTOCOLS,
                     "--crop_border", 3)
    protocols = {p.name: p for p in choose_protocols(PROTOCOLS, 3)}
    assert [protocols[p].crop for p in ("sparnet", "benchmark", "basicsr_y", "basicsr_rgb")] == [0, 8, 3, 3]
    report = json.loads((folder / "scores.json").read_text())
    rows = []
    for file in sorted(faces.iterdir()):
        image = Image.open(file)
        hr = resize(image, 32, centre_square(image.size))
        lr = degrade(hr, 8)
        with torch.no_grad():
            sr = net(to_tensor_range(torch.from_numpy(np.array(lr))[None]))
        hr, lr = np.asarray(hr), np.asarray(lr)
        rows.append({name: (*score(sr, hr, p), psnr(lr, hr, p), ssim(lr, hr, p)) for name, p in protocols.items()})
    of_faces = list(csv.DictReader((folder / "faces.csv").read_text().splitlines()))
    assert report["faces"] == len(of_faces) == 5 and of_faces[3]["file"] == "deep/003.png"
    for face, row in zip(of_faces, rows, strict=True):
        for p in PROTOCOLS:
            told = [float(face[f"{p}_{which}_{metric}"])
                    for which in ("restored", "input") for metric in ("psnr", "ssim")]
            assert told == pytest.approx(row[p], abs=1e-3)
    for p in PROTOCOLS:
        means = np.mean([row[p] for row in rows], axis=0)
        told = report["protocols"][p]
        assert [told["restored"]["psnr"], told["restored"]["ssim"], told["input"]["psnr"], told["input"]["ssim"]] == (
            pytest.approx(means.tolist(), abs=1e-3))
    out = capsys.readouterr().out
    assert re.search(r"^bicubic .* / ", out, re.M) and re.search(r"^t .* / ", out, re.M)
    assert report["crop_border"] == {name: p.crop for name, p in protocols.items()}
    assert "protocol basicsr_rgb: 3 pixels cropped from each side\n" in out
    assert "sparnet, rgb truncate: PSNR computed from the files differs" in out
    assert sorted(p.name for p in (folder / "restored" / "deep").iterdir()) == [f"{i:03d}.png" for i in range(5)]
    assert Image.open(folder / "samples.png").size == (3 * 34 + 2, TITLE_HEIGHT + 5 * 34 + 2)


def test_the_protocols_asked_for_are_scored_and_others_refused(tmp_path, weights, capsys):
    faces = write_faces(tmp_path / "faces", 1, size=(32, 32))
    folder = restore(tmp_path, weights[0], "--gtroot", faces, "--protocols", "basicsr_rgb", "basicsr_y")
    assert list(json.loads((folder / "scores.json").read_text())["protocols"]) == ["basicsr_y", "basicsr_rgb"]
    out = capsys.readouterr().out
    assert re.search(r"^Accuracy: .*\(protocol basicsr_y\)$", out, re.M) and "truncate" not in out
    for words, message in (
            (["--protocols", "basicsr_y", "basicsr_rbg"], "'basicsr_rbg' is unknown; .*Did you mean basicsr_rgb?"),
            (["--crop_border", 4], "--crop_border is of use with --protocols basicsr_y or basicsr_rgb only"),
            (["--protocols", "basicsr_y", "--crop_border", 11],
             "--protocols: protocol basicsr_y needs 11 pixels after cropping 11 from each side, the faces have 32")):
        with pytest.raises(UserError, match=message) as error:
            restore(tmp_path, weights[0], "--gtroot", faces, *words)
        assert "\n" not in str(error.value)


def test_low_resolution_faces_alone_and_with_references(tmp_path, weights, capsys):
    path, _ = weights
    small = write_faces(tmp_path / "small", 3, size=(4, 4))
    big = write_faces(tmp_path / "big", 3, size=(32, 32))
    folder = restore(tmp_path, path, "--dataroot", small)
    assert not (folder / "scores.json").exists() and len(list((folder / "restored").iterdir())) == 3
    assert "enlarged" not in capsys.readouterr().out  # small inputs are expected here
    restore(tmp_path, path, "--dataroot", small, "--gtroot", big, "--max_images", 2)
    assert json.loads((folder / "scores.json").read_text())["faces"] == 2


def test_masks_are_not_faces_and_priors_not_needed(tmp_path, weights):
    """A dataset with masks restores only its faces, with the same scores as --dataset_name celeba."""
    path, _ = weights
    faces = write_faces(tmp_path / "set" / "images", 2)
    write_faces(tmp_path / "set" / "masks", 2)
    folder = restore(tmp_path, path, "--gtroot", tmp_path / "set", "--dataset_name", "celebamask")
    scores = json.loads((folder / "scores.json").read_text())
    assert sorted(p.name for p in (folder / "restored" / "images").iterdir()) == ["000.png", "001.png"]
    restore(tmp_path, path, "--gtroot", faces, "--dataset_name", "celeba")
    assert json.loads((folder / "scores.json").read_text())["protocols"] == scores["protocols"]
    small = write_faces(tmp_path / "small", 2, size=(4, 4))
    restore(tmp_path, path, "--dataroot", small, "--gtroot", tmp_path / "set", "--dataset_name", "celebamask")
    restore(tmp_path, path, "--dataroot", tmp_path / "set", "--gtroot", tmp_path / "set", "--name", "inputs")
    assert sum(p.is_file() for p in (folder.parent / "inputs" / "restored").rglob("*")) == 2


@pytest.mark.parametrize("name", ["blind", "inpainting", "seg2face"])
def test_other_tasks_make_their_inputs_alike_each_time(tmp_path, weights, capsys, name):
    """Inputs made from the references are reproducible, and score the same when given as image files."""
    path, _ = weights
    draw_faces(tmp_path / "set", 3, 0, 48)
    kind = find_dataset(name)
    root = tmp_path / "set" if name == "seg2face" else tmp_path / "set" / "images"
    made = kind(kind.list_faces(str(root), ""), 32, augmentation="none")
    for i in range(3):
        save_image(made[Place(0, i)]["lr"], tmp_path / "inputs" / f"{i:05d}.png")
        save_image(made[Place(0, i)]["hr"], tmp_path / "references" / "images" / f"{i:05d}.png")
    folder = restore(tmp_path, path, "--gtroot", root, "--dataset_name", name)
    first = json.loads((folder / "scores.json").read_text())["protocols"]
    out = capsys.readouterr().out
    assert re.search(r"^input .* / ", out, re.M) and "dB PSNR, input " in out and "bicubic" not in out
    restore(tmp_path, path, "--gtroot", root, "--dataset_name", name)
    assert json.loads((folder / "scores.json").read_text())["protocols"] == first
    restore(tmp_path, path, "--dataroot", tmp_path / "inputs", "--gtroot", tmp_path / "references",
            "--dataset_name", name)
    given = json.loads((folder / "scores.json").read_text())["protocols"]
    assert given == first


def test_maps_and_coloured_pictures_are_inputs_too(tmp_path, weights):
    path, _ = weights
    faces = tmp_path / "set"
    draw_faces(faces, 2, 0, 32)
    coloured = faces / "images"
    for name, root, inputs in (("seg2face", faces, faces / "masks"), ("colorization", coloured, coloured)):
        folder = restore(tmp_path, path, "--gtroot", root, "--dataset_name", name)
        first = json.loads((folder / "scores.json").read_text())["protocols"]
        restore(tmp_path, path, "--dataroot", inputs, "--gtroot", coloured, "--dataset_name", name)
        assert json.loads((folder / "scores.json").read_text())["protocols"] == first
        restore(tmp_path, path, "--dataroot", inputs, "--dataset_name", name)  # without references
    with pytest.raises(UserError, match="--dataset_name map_inputs reads faces to restore and makes none: give --data"):
        restore(tmp_path, path, "--gtroot", faces, "--dataset_name", "map_inputs")


@pytest.mark.parametrize("level", ["O1", "O2"])
def test_half_precision_restores_the_same_faces(tmp_path, weights, level):
    path, _ = weights
    faces = write_faces(tmp_path / "faces", 2)
    pictures = []
    for words in ([], ["--opt_level", level, "--amp_dtype", "bfloat16"]):
        folder = restore(tmp_path, path, "--gtroot", faces, *words)
        pictures.append(np.asarray(Image.open(folder / "restored" / "000.png")).astype(float))
    assert 0 < np.abs(pictures[0] - pictures[1]).max() < 12


def test_a_damaged_face_stops_where_told_to(tmp_path, weights):
    faces = write_faces(tmp_path / "faces", 3)
    (faces / "001.png").write_bytes(b"broken")
    with pytest.raises(UserError, match="--on_bad_image stop.*001.png"):
        restore(tmp_path, weights[0], "--gtroot", faces, "--on_bad_image", "stop", "--batch_size", 1)


def test_invalid_weights_are_one_clear_error(tmp_path, weights):
    spoilt = torch.load(weights[0], weights_only=True)
    next(iter(spoilt.values())).fill_(float("nan"))
    torch.save(spoilt, tmp_path / "spoilt.pth")
    with pytest.raises(UserError, match="1 of 270 tensors hold values that are not finite"):
        restore(tmp_path, tmp_path / "spoilt.pth", "--gtroot", write_faces(tmp_path / "faces", 1))


def test_names_that_are_no_utf8_are_scored_and_listed(tmp_path, weights):
    faces = write_faces(tmp_path / "faces", 1)
    (faces / "000.png").rename(faces / "\udce9.png")
    folder = restore(tmp_path, weights[0], "--gtroot", faces)
    assert b"\n\xe9.png," in (folder / "faces.csv").read_bytes() and (folder / "restored" / "\udce9.png").exists()


@pytest.mark.parametrize("name", ["", "../x", "/x"])
def test_a_name_stays_within_the_results(tmp_path, weights, name):
    options = parse_test(["--pth_path", str(weights[0]), "--gtroot", str(tmp_path), "--device", "cpu"])
    options.name = name
    with pytest.raises(UserError, match="--name .* must be a plain folder name"):
        tester.Tester(options)


def test_a_damaged_face_is_left_out_of_the_scores(tmp_path, weights, capsys):
    path, _ = weights
    faces = write_faces(tmp_path / "faces", 101, size=(32, 32))
    (faces / "050.png").write_bytes(b"broken")
    folder = restore(tmp_path, path, "--gtroot", faces, status=1)
    assert json.loads((folder / "scores.json").read_text())["faces"] == 100
    assert not (folder / "restored" / "050.png").exists()
    assert re.search(r"Bad images: 1.*\n  .*050\.png", capsys.readouterr().out)


def test_faces_identical_to_their_references_are_named_and_averages_stay_finite(tmp_path, weights, capsys):
    """The mean leaves out an infinite PSNR but not its SSIM. Every JSON reader accepts scores.json."""
    def constant(name):
        raise AssertionError(f"{name} is not JSON")
    faces = write_faces(tmp_path / "faces", 3, size=(32, 32))
    shutil.copytree(faces, tmp_path / "inputs")
    for i in (1, 2):
        Image.open(faces / f"{i:03d}.png").transpose(0).save(tmp_path / "inputs" / f"{i:03d}.png")
    folder = restore(tmp_path, weights[0], "--dataroot", tmp_path / "inputs", "--gtroot", faces)
    report = json.loads((folder / "scores.json").read_text(), parse_constant=constant)
    rows = list(csv.DictReader((folder / "faces.csv").read_text().splitlines()))
    for p in USUAL:
        assert [row[f"{p}_input_psnr"] == "inf" for row in rows] == [True, False, False]
        told = report["protocols"][p]["input"]
        assert told["psnr"] == pytest.approx(np.mean([float(row[f"{p}_input_psnr"]) for row in rows[1:]]))
        assert told["ssim"] == pytest.approx(np.mean([float(row[f"{p}_input_ssim"]) for row in rows]))
        assert report["identical"][p] == {"input": ["000.png"]}
        gains = [float(row[f"{p}_restored_psnr"]) - float(row[f"{p}_input_psnr"]) for row in rows[1:]]
        assert report["gain"][p] == {"psnr": pytest.approx(np.mean(gains)), "faces": 2}  # of the same faces
    out = capsys.readouterr().out
    gain = f"{report['gain']['sparnet']['psnr']:+.4f}"
    assert f"(protocol sparnet); gain of the 2 faces that have both: {gain} dB\n" in out
    assert re.search(rf"^gain in dB +{re.escape(gain)} ", out, re.M)
    assert ("bicubic, protocol sparnet: identical to the reference, PSNR infinite, left out of the mean PSNR: 000.png\n"
            in out)
    # All faces are identical to their references: there is no mean PSNR and no gain.
    restore(tmp_path, weights[0], "--dataroot", faces, "--gtroot", faces)
    report = json.loads((folder / "scores.json").read_text(), parse_constant=constant)
    assert report["protocols"]["rgb"]["input"] == {"psnr": None, "ssim": pytest.approx(1)}
    assert report["gain"]["rgb"] == {"psnr": None, "faces": 0}
    out = capsys.readouterr().out
    assert re.search(r"^gain in dB +none +none +none *$", out, re.M) and not re.search(r"\b(inf|nan)\b", out)


def test_every_readable_face_is_restored_and_the_others_listed(tmp_path, weights, capsys):
    faces = write_faces(tmp_path / "faces", 20, size=(4, 4))
    whole = (faces / "003.png").read_bytes()
    (faces / "003.png").write_bytes(whole[:len(whole) // 2])
    folder = restore(tmp_path, weights[0], "--dataroot", faces, status=1)
    assert len(list((folder / "restored").iterdir())) == 19
    assert re.search(r"Bad images: 1, .*\n  .*003\.png: .*truncated", capsys.readouterr().out)
    for file in faces.iterdir():
        file.write_bytes(b"")
    with pytest.raises(UserError, match="none of the 20 images could be restored"):
        restore(tmp_path, weights[0], "--dataroot", faces)


def test_a_face_with_a_bad_reference_is_restored_but_not_scored(tmp_path, weights, capsys):
    faces, small = write_faces(tmp_path / "faces", 3, size=(32, 32)), write_faces(tmp_path / "small", 3, size=(4, 4))
    restore(tmp_path, weights[0], "--dataroot", small, "--gtroot", faces)
    (faces / "001.png").write_bytes(b"broken")
    folder = restore(tmp_path, weights[0], "--dataroot", small, "--gtroot", faces, status=1)
    assert len(list((folder / "restored").iterdir())) == 3
    rows = [list(csv.DictReader((f / "faces.csv").read_text().splitlines()))
            for f in (folder.with_name("t.previous"), folder)]
    assert rows[1] == [rows[0][0], rows[0][2]]
    assert re.search(r"\n  .*faces/001\.png: cannot identify.*not scored", capsys.readouterr().out)


def test_a_name_that_cannot_be_written_costs_one_face(tmp_path, weights, capsys, monkeypatch):
    faces = write_faces(tmp_path / "faces", 3, size=(4, 4))

    def on_such_a_disk(array, path):
        if path.name == "001.png":
            raise WriteError("no", "Invalid argument", of_name=True)
        save_image(array, path)
    monkeypatch.setattr(tester, "save_image", on_such_a_disk)
    folder = restore(tmp_path, weights[0], "--dataroot", faces, status=1)
    assert sorted(p.name for p in (folder / "restored").iterdir()) == ["000.png", "002.png"]
    assert "001.png: its restored image cannot be written: Invalid argument" in capsys.readouterr().out


def test_a_full_disk_ends_the_run(tmp_path, weights, monkeypatch):
    def full(array, path):
        raise WriteError(f"cannot write {path}: No space left on device", "No space left on device")
    monkeypatch.setattr(tester, "save_image", full)
    with pytest.raises(WriteError, match="No space left"):
        restore(tmp_path, weights[0], "--dataroot", write_faces(tmp_path / "faces", 3, size=(4, 4)))


@pytest.mark.parametrize("removed", ["000.png", "002.png", "samples.png"])
def test_results_that_are_removed_meanwhile_fail_the_run(tmp_path, weights, monkeypatch, removed):
    def remove(array, path):
        save_image(array, path)
        if path.name == removed:
            shutil.rmtree(tmp_path / "results")
    monkeypatch.setattr(tester, "save_image", remove)
    faces = write_faces(tmp_path / "faces", 3, size=(4, 4))
    with pytest.raises(UserError, match="results/t was removed, moved or emptied while this process wrote") as error:
        restore(tmp_path, weights[0], "--dataroot", faces, "--batch_size", 1)
    assert error.value.status == 1


def test_earlier_results_are_moved_aside_and_nothing_is_lost(tmp_path, weights):
    faces = write_faces(tmp_path / "faces", 2, size=(32, 32))
    folder = restore(tmp_path, weights[0], "--gtroot", faces)
    (folder / "mine.txt").write_text("notes")
    (faces / "000.png").unlink()
    for _ in range(2):
        restore(tmp_path, weights[0], "--dataroot", faces)
    assert [p.name for p in (folder / "restored").iterdir()] == ["001.png"] and not (folder / "scores.json").exists()
    assert {p.name for p in folder.parent.iterdir()} == {"t", "t.previous", "t.previous.2"}
    previous = folder.with_name("t.previous")
    assert (previous / "mine.txt").exists() and (previous / "scores.json").exists()


def test_results_are_never_inputs(tmp_path, weights, capsys):
    faces = write_faces(tmp_path / "results" / ".." / "faces", 2, size=(4, 4))
    for name in ("a", "b"):
        restore(faces, weights[0], "--dataroot", faces, "--name", name)
    assert len(list((faces / "results" / "b" / "restored").rglob("*.png"))) == 2
    assert "the output folder results is not searched" in capsys.readouterr().out
    restored = faces / "results" / "b" / "restored"
    for words, message in ((["--dataroot", restored, "--name", "b"], "where the results go"),
                           (["--dataroot", faces, "--results_dir", faces], "results would be read as inputs")):
        with pytest.raises(UserError, match=message):
            restore(faces, weights[0], *words)
    assert len(list((faces / "results" / "b" / "restored").rglob("*.png"))) == 2
    restore(faces, weights[0], "--dataroot", faces / "results" / "a" / "restored", "--name", "again")


def test_a_link_to_the_inputs_is_no_folder_of_results(tmp_path, weights):
    faces = write_faces(tmp_path / "faces", 2, size=(32, 32))
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "t").symlink_to(faces)
    (tmp_path / "results" / "up").symlink_to(tmp_path)
    (tmp_path / "link").symlink_to(faces)
    for words in (["--gtroot", faces], ["--dataroot", tmp_path / "link"], ["--dataroot", faces, "--name", "up"]):
        with pytest.raises(UserError, match="where the results go"):
            restore(tmp_path, weights[0], *words)
    assert len(list(faces.glob("*.png"))) == 2


def test_faces_of_another_size_are_reported_in_one_line(tmp_path, weights, capsys):
    faces = tmp_path / "faces"
    for side, count in ((4, 3), (32, 1), (64, 2), (40, 1)):
        write_faces(faces / str(side), count, size=(side, side))
    restore(tmp_path, weights[0], "--dataroot", faces)
    assert re.findall("^warning: .*", capsys.readouterr().out, re.M) == [
        "warning: the network was trained on faces of 4 pixels, its result has 32; 3 images (2 of 64 pixels, 1 of 40 "
        "pixels): resized to 4 pixels first, larger ones lose detail; 1 images (1 of 32 pixels): taken as enlarged "
        "from 4 pixels; sharp ones are restored badly."]
    restore(tmp_path, weights[0], "--dataroot", faces / "4")
    assert "warning" not in capsys.readouterr().out
    write_faces(faces / "2", 1, size=(2, 2))
    restore(tmp_path, weights[0], "--dataroot", faces / "2")
    assert "1 images (1 of 2 pixels): resized to 4 pixels first.\n" in capsys.readouterr().out
    restore(tmp_path, weights[0], "--dataroot", faces / "32", "--scale_factor", 1)  # trained on whole faces
    assert "warning" not in capsys.readouterr().out


def test_faces_of_another_size_are_taken_to_that_of_the_training_and_scored_as_they_were_given(tmp_path, weights):
    """The network is trained on faces of 4 pixels, enlarged to 32; 2 and 7 become 4, and 32 are taken as enlarged."""
    for folder, side in (("given", 7), ("given", 2), ("given", 4), ("given", 32)):
        write_faces(tmp_path / folder / str(side), 2, size=(side + 1, side))
        write_faces(tmp_path / "hr" / str(side), 2, size=(32, 32), first_seed=5)
        for path in (tmp_path / folder / str(side)).iterdir():
            image = Image.open(path)
            taken = image if side in (4, 32) else resize(image, 4, centre_square(image.size))
            save_image(np.asarray(taken), tmp_path / "taken" / str(side) / path.name)
    ends = [restore(tmp_path / name, weights[0], "--dataroot", tmp_path / name, "--gtroot", tmp_path / "hr", "--report")
            for name in ("given", "taken")]
    names = [path.relative_to(ends[0]) for path in sorted(ends[0].glob("restored/*/*.png"))]
    assert len(names) == 8 and all((ends[0] / name).read_bytes() == (ends[1] / name).read_bytes() for name in names)
    rows = list(csv.DictReader((ends[0] / "faces.csv").read_text().splitlines()))
    for row in rows:
        given, high = (Image.open(tmp_path / folder / row["file"]) for folder in ("given", "hr"))
        told = psnr(np.asarray(resize(given, 32, centre_square(given.size))), np.asarray(high), PROTOCOLS["rgb"])
        assert float(row["rgb_input_psnr"]) == pytest.approx(told, abs=1e-3)


def test_a_folder_whose_path_is_no_utf8_is_restored(tmp_path, weights, capsys):
    faces = write_faces(tmp_path / "\udcc1\udcb3", 1, size=(32, 32))
    (faces / "a\nb.heic").touch()
    folder = restore(tmp_path, weights[0], "--dataroot", faces, "--gtroot", faces)
    assert (folder / "restored" / "000.png").exists()
    out = capsys.readouterr().out
    assert r"\xc1\xb3: 1 other file ignored (.heic 1)" in out
