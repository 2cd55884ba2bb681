# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""newphoto.py: what it writes, and what it leaves alone."""
import json
import os
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from data.drawn.builtin_faces import draw_face
from engine import photo_run
from models.rrdbnet import RRDBNet
from options.photo_options import parse_photo
from restore.photo import PhotoRestorer
from restore.restorer import Restorer
from tests.helpers.deployed import SMALL, save_recipe
from tests.helpers.photos import photo_caller
from tests.helpers.ranks import run_program
from utils.errors import UserError
from utils.files import WriteError
from utils.images import BadImage


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Returns a function: newphoto.py with untrained weights, of 12 to 32 pixels -> (status, output folder)."""
    weights = save_recipe(tmp_path / "weights", SMALL["sparnet"])
    load = Restorer.load

    def blind(path, device):
        found = load(path, device)
        found.description = replace(found.description, task="face128")
        return found
    monkeypatch.setattr(Restorer, "load", blind)
    return photo_caller(tmp_path, weights)


def save(path, size=40, canvas=160, **options):
    """Writes a photo with a drawn face of `size` pixels at (20, 30)."""
    picture = np.full((canvas, canvas, 3), 128, np.uint8)
    if size:
        picture[30:30 + size, 20:20 + size] = draw_face(3, size).image
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, **options)
    return picture


def test_a_folder_is_restored_under_the_same_names_and_finished_once(run, tmp_path, capsys):
    before = save(tmp_path / "in" / "deep" / "face.png")
    save(tmp_path / "in" / "plain.jpg", 0, quality=50)
    (tmp_path / "in" / "bad.png").write_bytes(b"none")
    status, out = run(tmp_path / "in")
    printed = capsys.readouterr()
    assert status == 1 and "error: 1 photos could not be read or written" in printed.err
    assert "deep/face.png: 1 of 1 faces restored" in printed.out
    assert "plain.jpg: no face found, unchanged" in printed.out
    assert "1 restored, 1 unchanged, 1 skipped" in printed.out
    assert (out / "plain.jpg").read_bytes() == (tmp_path / "in" / "plain.jpg").read_bytes()
    after = np.asarray(Image.open(out / "deep" / "face.png"))
    changed = (after != before).any(-1)
    assert changed[35:65, 25:55].mean() > 0.5 and not changed[100:].any() and not changed[:, 100:].any()
    face, = json.loads((out / "newphoto" / "reports" / "deep" / "face.png.json").read_text())["faces"]
    assert face["skipped"] is None and face["side"] == pytest.approx(40, rel=0.3)
    assert Image.open(out / "newphoto" / "faces.png").size[0] > 64 and not (out / "bad.png").exists()

    before = (out / "deep" / "face.png").stat().st_mtime_ns
    assert run(tmp_path / "in")[0] == 1
    assert "1 skipped, 2 done before" in capsys.readouterr().out
    assert (out / "deep" / "face.png").stat().st_mtime_ns == before
    for words in (["--fidelity", 0.5], ["--fidelity", 0.5, "--again"]):
        run(tmp_path / "in", *words)
        assert "1 restored, 1 unchanged, 1 skipped." in capsys.readouterr().out
    save(tmp_path / "in" / "plain.jpg", 0, canvas=90)
    run(tmp_path / "in", "--fidelity", 0.5)
    assert "1 unchanged, 1 skipped, 1 done before" in capsys.readouterr().out


def test_a_photo_that_changes_while_it_is_read_is_restored_again_by_the_next_call(run, tmp_path, monkeypatch, capsys):
    """The picture and the checksum in its report come from the same bytes."""
    photo, read = tmp_path / "face.png", photo_run._content
    before = save(photo)

    def replaced_after(path):
        content = read(path)
        save(photo, 0)
        return content
    monkeypatch.setattr(photo_run, "_content", replaced_after)
    status, out = run(photo)
    after = np.asarray(Image.open(out / "face.png"))
    assert status == 0 and np.array_equal(after[100:], before[100:]) and (after[35:65, 25:55] != 128).any()
    assert "1 restored" in capsys.readouterr().out
    run(photo)
    assert "1 unchanged" in capsys.readouterr().out


def test_a_photo_is_enlarged_with_its_faces(run, tmp_path, capsys):
    save(tmp_path / "face.png")
    status, out = run(tmp_path / "face.png", "--upscale", 2, "--save_faces", "--paste", "crop")
    assert status == 0 and Image.open(out / "face.png").size == (320, 320)
    assert {path.name for path in (out / "newphoto" / "faces").iterdir()} == {
        "face.png.1.aligned.png", "face.png.1.restored.png"}
    save(tmp_path / "plain.png", 0)
    assert run(tmp_path / "plain.png", "--upscale", 4)[0] == 0
    assert Image.open(out / "plain.png").size == (640, 640)
    assert "plain.png: no face found, enlarged" in capsys.readouterr().out


@pytest.mark.parametrize("size, words, reason", [
    (100, [], "too large for these weights"), (40, ["--min_face", 60], "too small"), (100, ["--max_face", 200], None),
    (40, ["--max_face", 20], "too large for these weights")])
def test_faces_that_would_lose_are_left_and_named(run, tmp_path, capsys, size, words, reason):
    before = save(tmp_path / "face.png", size)
    status, out = run(tmp_path / "face.png", *words)
    face, = json.loads((out / "newphoto" / "reports" / "face.png.json").read_text())["faces"]
    same = np.array_equal(np.asarray(Image.open(out / "face.png")), before)
    if reason:
        assert reason in face["skipped"] and same and reason in capsys.readouterr().out
    else:
        assert face["skipped"] is None and not same


@pytest.mark.parametrize("which, wanted", [("all", [1, 2, 3]), ("largest", [2]), ("centre", [3])])
def test_which_faces(tmp_path, which, wanted):
    from restore.face_finder import Face
    weights = save_recipe(tmp_path, SMALL["sparnet"])
    template = np.array([(10, 10), (20, 10), (15, 16), (11, 21), (19, 21)], np.float32)
    fields = dict.fromkeys(Face._fields)
    faces = [Face(**fields | {"points": points, "score": score}) for points, score in
             ((template, 1), (template * 2 + 60, 2), (template * 1.1 + (30, 40), 3))]
    restore = PhotoRestorer({"net": Restorer.load(weights, "cpu")}, which=which, finder=lambda pixels: faces,
                            min_face=1, max_face=1000)
    _, found = restore(np.full((120, 100, 3), 99, np.uint8))
    assert [face.face.score for face in found] == wanted and all(face.crop for face in found)


def test_no_file_of_the_user_is_replaced(run, tmp_path, capsys):
    save(tmp_path / "in" / "a.png", 0)
    save(tmp_path / "in" / "b.gif", 0)
    save(tmp_path / "in" / "b.gif.png", 0)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").write_bytes(b"the user's")
    status, out = run(tmp_path / "in", "--upscale", 2)
    assert status == 1 and (out / "a.png").read_bytes() == b"the user's"
    printed = capsys.readouterr().out
    assert "a.png: skipped: " in printed and "is there already, and no report says" in printed
    assert "b.gif.png: skipped: " in printed and Image.open(out / "b.gif.png").size == (320, 320)
    (out / "a.png").unlink()
    for words in (["--upscale", 2], ["--upscale", 4]):  # its own files are replaced
        assert run(tmp_path / "in", *words)[0] == 1
        assert "a.png: no face found" in capsys.readouterr().out


def test_a_photo_that_is_named_otherwise_when_enlarged_changes_its_size_again_and_again(run, tmp_path):
    save(tmp_path / "b.gif", 0)
    for upscale, name, size in ((2, "b.gif.png", 320), (1, "b.gif", 160), (4, "b.gif.png", 640), (1, "b.gif", 160)):
        status, out = run(tmp_path / "b.gif", "--upscale", upscale)
        assert status == 0 and Image.open(out / name).size == (size, size)
    report = json.loads((out / "newphoto" / "reports" / "b.gif.json").read_text())
    assert (report["file"], report["also"]) == ("b.gif", ["b.gif.png"])


def test_a_photo_keeps_its_earlier_file_if_the_enlarged_one_cannot_be_written(run, tmp_path, monkeypatch):
    def refuse(photo, pixels, path):
        raise BadImage(path, "there is no room")
    save(tmp_path / "b.gif", 0)
    run(tmp_path / "b.gif")
    with monkeypatch.context() as patch:
        patch.setattr(photo_run, "write_photo", refuse)
        assert run(tmp_path / "b.gif", "--upscale", 2)[0] == 1
    status, out = run(tmp_path / "b.gif", "--again")
    assert status == 0 and [path.name for path in out.glob("b*")] == ["b.gif"]


def test_a_photo_does_not_replace_that_of_another_which_has_taken_its_name(run, tmp_path, capsys):
    save(tmp_path / "in" / "b.gif", 0)
    _, out = run(tmp_path / "in", "--upscale", 2)
    (out / "b.gif.png").unlink()
    save(tmp_path / "in" / "b.gif.png", 0)
    assert run(tmp_path / "in")[0] == 0
    content = (out / "b.gif.png").read_bytes()
    assert run(tmp_path / "in" / "b.gif", "--upscale", 2)[0] == 1
    assert (out / "b.gif.png").read_bytes() == content and "is there already" in capsys.readouterr().out


@pytest.mark.parametrize("words, message", [
    (["named"], "photos lie in its folder newphoto"),
    (["none.png"], "PHOTO_OR_FOLDER: the folder none.png does not exist"),
    (["notes.txt"], "notes.txt: it is no image by its name"),
    (["in", "--output_path", "in"], "it is the folder of the photos, which would be replaced"),
    (["in/a.png", "--output_path", "in"], "it is the folder of the photos, which would be replaced"),
    (["in", "--output_path", "notes.txt"], "--output_path: cannot write into notes.txt"),
    (["in", "--pretrained", "spar"], "--pretrained spar: there are no such weights"),
    (["in", "--pretrained", "sparnet", "--pth_path", "w"], "--pretrained and --pth_path contradict each other"),
    (["in", "--pth_path", "w.pth"], "w.pth: there is no such weights file"),
    (["in", "--min_face", "9", "--max_face", "8"], "no face is between"),
    (["in", "--bg_path", "w.pth"], "--bg_path enlarges photos: give --upscale 2 or 4"),
    (["in", "--upscale", "2", "--bg_path", "w.pth"], "w.pth"),
    (["empty"], "PHOTO_OR_FOLDER: no images")])
def test_what_cannot_be_done_is_refused_in_one_line(tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "in" / "a.png")
    save(tmp_path / "named" / "newphoto" / "a.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(UserError, match=message) as error:
        photo_run.PhotoRun(parse_photo(words)).run()
    assert "\n" not in str(error.value)


def test_ranks_share_the_photos(tmp_path):
    for number in range(3):
        save(tmp_path / "in" / f"{number}.png", 0)
    (tmp_path / "in" / "bad.png").write_bytes(b"none")
    folder = tmp_path / "in"
    with pytest.raises(AssertionError) as failed:  # the exit status of all ranks is 1
        run_program(2, tmp_path / "logs", "newphoto.py", folder, "--output_path", tmp_path / "out", "--device", "cpu")
    assert str(failed.value).count("no face found, unchanged") == 3
    assert "3 unchanged, 1 skipped. Photos" in str(failed.value)
    assert all(str(failed.value).count(f"[{number}/2 of rank {rank}] ") == 1 for number in (1, 2) for rank in (0, 1))
    assert str(failed.value).count("error: 1 photos could not be read or written") == 1
    assert all((tmp_path / "out" / f"{number}.png").is_file() for number in range(3))


def test_a_call_that_is_killed_while_it_writes_is_finished_by_the_next(run, tmp_path, monkeypatch, capsys):
    save(tmp_path / "in" / "a.png", 0)
    write = photo_run.write_photo

    def killed(photo, pixels, path):
        write(photo, pixels, path)
        raise KeyboardInterrupt
    monkeypatch.setattr(photo_run, "write_photo", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "in", "--upscale", 2)
    monkeypatch.setattr(photo_run, "write_photo", write)
    for line in ("a.png: no face found, enlarged", "a.png: done before"):
        assert run(tmp_path / "in", "--upscale", 2)[0] == 0
        assert line in capsys.readouterr().out


def test_a_full_disk_ends_the_run_and_a_bad_photo_does_not(run, tmp_path, monkeypatch, capsys):
    save(tmp_path / "in" / "a.png", 0)
    save(tmp_path / "in" / "b.png", 0)
    monkeypatch.setattr(photo_run, "MAX_PIXELS", 160 * 160 * 4 - 1)
    assert run(tmp_path / "in", "--upscale", 2)[0] == 1
    assert capsys.readouterr().out.count("skipped: enlarged 2 times it would have more than") == 2

    def full(path, content, **_):
        raise WriteError(f"cannot write {path}", "No space left on device")
    monkeypatch.setattr(photo_run, "write_file", full)
    with pytest.raises(WriteError, match="a.png"):
        run(tmp_path / "in")


def test_reports_of_others_are_no_reason_to_read_or_write_elsewhere(run, tmp_path, capsys):
    save(tmp_path / "in" / "a.png", 0)
    (tmp_path / "elsewhere").write_bytes(b"the user's")
    report = tmp_path / "out" / "newphoto" / "reports" / "a.png.json"
    report.parent.mkdir(parents=True)
    for content in ('{"file": "../elsewhere", "asked": null}', "[" * 10_000, "{", '{"file": 3}', '"text"'):
        report.write_text(content)
        (tmp_path / "out" / "a.png").unlink(missing_ok=True)
        assert run(tmp_path / "in")[0] == 0 and "a.png: no face found" in capsys.readouterr().out
    assert (tmp_path / "elsewhere").read_bytes() == b"the user's"


def test_photos_with_the_longest_names(run, tmp_path, capsys):
    photo = tmp_path / f"{'x' * 251}.png"
    save(photo)
    status, out = run(photo, "--save_faces")
    assert status == 0 and (out / photo.name).is_file() and len(list((out / "newphoto" / "faces").iterdir())) == 2
    assert run(photo)[0] == 0 and "done before" in capsys.readouterr().out


def test_a_report_that_names_another_file_or_is_a_pipe_is_none(run, tmp_path, capsys):
    save(tmp_path / "a.png", 0)
    _, out = run(tmp_path / "a.png")
    report = out / "newphoto" / "reports" / "a.png.json"
    report.write_text(json.dumps(json.loads(report.read_text()) | {"file": str(tmp_path / "a.png")}))
    (out / "a.png").unlink()
    assert run(tmp_path / "a.png")[0] == 0 and (out / "a.png").is_file()
    for path in (report, out / "a.png"):
        path.unlink()
    os.mkfifo(report)
    assert run(tmp_path / "a.png")[0] == 0 and report.is_file()
    assert "done before" not in capsys.readouterr().out


def test_weights_of_one_size_are_not_chosen_for_photos_and_unknown_options_are_named():
    assert list(parse_photo(["a.png"]).weights) == ["face128", "face256"]
    assert list(parse_photo(["a.png", "--pretrained", "sparnet"]).weights) == ["sparnet"]
    with pytest.raises(UserError, match="unknown option --fidelty. Did you mean --fidelity?"):
        parse_photo(["a.png", "--fidelty", "1"])


def test_faces_of_several_photos_are_restored_together(run, tmp_path, monkeypatch, capsys):
    """Also where a photo between them is damaged; the results are those of one photo at a time."""
    for number in range(5):
        save(tmp_path / "in" / f"{number}.png", 36 + number)
    (tmp_path / "in" / "2a.png").write_bytes((tmp_path / "in" / "2.png").read_bytes()[:500])
    sizes, restore_batch = [], Restorer.restore_batch

    def counted(self, inputs):
        sizes.append(len(inputs))
        return restore_batch(self, inputs)
    monkeypatch.setattr(Restorer, "restore_batch", counted)
    assert run(tmp_path / "in")[0] == 1
    printed = capsys.readouterr().out.splitlines()
    assert sizes == [5] and [line.split()[1] for line in printed[:6]] == [
        "0.png:", "1.png:", "2.png:", "2a.png:", "3.png:", "4.png:"]
    assert "2a.png: skipped" in printed[3] and "5 restored, 1 skipped" in printed[-1]
    monkeypatch.setattr(photo_run, "IN_FLIGHT", 1)
    _, alone = run(tmp_path / "in", out="alone")
    assert sizes[1:] == [1] * 5
    for number in range(5):
        one, other = (np.asarray(Image.open(folder / f"{number}.png")).astype(int) for folder in
                      (tmp_path / "out", alone))
        assert np.abs(one - other).max() <= 1  # a CPU may add in another order


def test_networks_that_look_at_the_batch_restore_each_face_alone(tmp_path):
    weights = save_recipe(tmp_path / "weights", SMALL["fsrnet"])
    save(tmp_path / "in" / "a.png")
    options = parse_photo([str(tmp_path / "in"), "--output_path", str(tmp_path / "out"), "--pth_path", str(weights),
                           "--device", "cpu"])
    restorer, = photo_run.PhotoRun(options).restore.restorers.values()
    assert restorer.batch_size == (1 if restorer.network.norms_by_batch() else 16)


def test_what_is_not_surely_a_face_is_named_and_left(run, tmp_path, monkeypatch, capsys):
    from restore import photo
    from restore.face_finder import Face
    save(tmp_path / "face.png")
    points = np.array([(30, 40), (50, 40), (40, 50), (33, 60), (47, 60)], np.float32)
    places = [Face(points, (20, 30, 40, 40), 0.9, trust, 0.0, True) for trust in (0.12, 0.34)]
    monkeypatch.setattr(photo, "FaceFinder", lambda: lambda pixels, **_: places)
    status, out = run(tmp_path / "face.png")
    line = ("no face found, unchanged; left as it is: not surely a face: trust 0.34, 0.50 is needed (one of 2 such "
            "places)")
    assert status == 0 and line in capsys.readouterr().out
    first, _ = json.loads((out / "newphoto" / "reports" / "face.png.json").read_text())["faces"]
    assert first["skipped"] == "not surely a face: trust 0.12, 0.50 is needed"
    assert (out / "face.png").read_bytes() == (tmp_path / "face.png").read_bytes()


def test_a_crowd_is_one_part_of_the_line(run, tmp_path, monkeypatch, capsys):
    from restore import photo
    from restore.face_finder import Face
    save(tmp_path / "face.png")
    shape = np.array([(-10, 0), (10, 0), (0, 10), (-7, 20), (7, 20)], np.float32)
    crowd = [Face(shape * size + 60, (40, 50, 40, 40), 0.9, 0.9, 0.0) for size in (0.01, 0.02, 0.03, 9, 8)]
    monkeypatch.setattr(photo, "FaceFinder", lambda: lambda pixels, **_: crowd)
    run(tmp_path / "face.png")
    line, = (line for line in capsys.readouterr().out.splitlines() if "face.png:" in line)
    assert line.count("left as it is") == 2 and "(one of 3 such faces)" in line and "(one of 2 such faces)" in line


def test_a_photo_that_could_not_be_written_leaves_no_report(run, tmp_path, monkeypatch, capsys):
    save(tmp_path / "face.png")

    def refuse(photo, pixels, path):
        raise BadImage(path, "it cannot be written")
    with monkeypatch.context() as patch:
        patch.setattr(photo_run, "write_photo", refuse)
        status, out = run(tmp_path / "face.png", "--upscale", 2)
    assert status == 1 and "skipped: it cannot be written" in capsys.readouterr().out
    assert not (out / "newphoto" / "reports" / "face.png.json").exists()
    (out / "face.png").write_bytes(b"the user's")
    assert run(tmp_path / "face.png", "--upscale", 2)[0] == 1 and (out / "face.png").read_bytes() == b"the user's"


def test_a_photo_of_16_bits_keeps_them(run, tmp_path, monkeypatch):
    picture = save(tmp_path / "face.png").astype(np.uint16) * 257
    picture += np.random.default_rng(0).integers(0, 120, picture.shape, dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "face.png"), picture[..., ::-1])
    status, out = run(tmp_path / "face.png")
    found = cv2.imread(str(out / "face.png"), cv2.IMREAD_UNCHANGED)[..., ::-1]
    changed = (found != picture).any(-1)
    assert status == 0 and found.dtype == np.uint16 and 400 < changed.sum() < 6400 and not changed[100:].any()
    monkeypatch.setattr(Restorer, "restore_inputs", lambda self, inputs: list(inputs))  # changes nothing
    run(tmp_path / "face.png", "--again")
    assert np.array_equal(cv2.imread(str(out / "face.png"), cv2.IMREAD_UNCHANGED)[..., ::-1], picture)


def test_a_background_is_enlarged_by_a_network(run, tmp_path, monkeypatch, capsys):
    torch.manual_seed(0)
    network = RRDBNet(4, 1, 4)
    for value in (0.2, 0.8):
        with torch.no_grad():
            network.conv_last.weight.zero_()
            network.conv_last.bias.fill_(value)  # a network that sees everything in one colour
        torch.save({"params_ema": network.state_dict()}, tmp_path / "w.pth")
        save(tmp_path / "face.png", canvas=200)
        monkeypatch.setattr(photo_run, "TILES_SHOWN", 0)
        status, out = run(tmp_path / "face.png", "--upscale", 2, "--bg_path", tmp_path / "w.pth")
        found = np.asarray(Image.open(out / "face.png"))
        printed = capsys.readouterr().out
        assert status == 0 and "1 of 1 faces restored" in printed and "face.png: 3 of 4 tiles of the" in printed
        assert found.shape == (400, 400, 3) and (found[200:] == value * 255).all()
        assert found[80:120, 60:100].std() > 5  # the face is that of the photo


def test_a_summary_for_programs(run, tmp_path):
    save(tmp_path / "in" / "a.png")
    save(tmp_path / "in" / "b.png", 0)
    (tmp_path / "in" / "c.png").write_bytes(b"none")
    _, out = run(tmp_path / "in")
    assert not (out / "newphoto" / "report.json").exists()
    for outcomes in (["restored", "unchanged"], ["done before"] * 2):
        run(tmp_path / "in", "--report", out="other")
        found = json.loads((tmp_path / "other" / "newphoto" / "report.json").read_text())
        assert [(photo["photo"], photo["outcome"]) for photo in found["photos"]] == [
            ("a.png", outcomes[0]), ("b.png", outcomes[1]), ("c.png", "skipped")]
        assert [photo["file"] for photo in found["photos"]] == ["a.png", "b.png", None]
        assert found["counts"]["skipped"] == 1 and "cannot identify" in found["photos"][2]["message"]
