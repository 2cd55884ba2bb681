# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""tools/: packing faces, training over several calls, publishing weights, the README's table."""
import hashlib
import json
import re
import subprocess
import sys
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from engine.logger import read_metrics
from models.weights import WeightsError, read_weights
from restore.description import read_description
from tests.helpers.faces import write_faces
from tests.helpers.paths import ROOT
from tests.helpers.processes import HUNG
from tests.helpers.runs import TINY, same, state
from tests.helpers.warm_python import warm_python
from tools import astronaut, export_weights, pack_faces, readme_results, timed_training
from utils import pretrained
from utils.errors import UserError
from utils.images import Skipped, read_rgb


def test_packed_faces_are_squares_near_the_originals_and_fit(tmp_path):
    folder = write_faces(tmp_path / "faces", 12, size=(80, 100))
    (folder / "broken.png").write_bytes(b"no picture")
    packed, quality, size, psnr = pack_faces.pack(folder, tmp_path / "faces.zip", 64, max_mb=1)
    assert packed == 12 and quality == max(pack_faces.QUALITIES) and psnr > 35
    unpacked = timed_training.unpack(tmp_path / "faces.zip", tmp_path / "out")
    names = sorted(p.name for p in unpacked.iterdir())
    assert names == [f"{i:03d}.webp" for i in range(12)]
    (_, face), = pack_faces.read_faces([folder / "003.png"], 64, Skipped())
    assert np.abs(np.asarray(read_rgb(unpacked / "003.webp")).astype(int) - np.asarray(face)).mean() < 4
    smaller = pack_faces.pack(folder, tmp_path / "less.zip", 64, max_mb=0.7 * size / 1e6)
    assert smaller[1] < quality and smaller[2] <= 0.7 * size
    assert pack_faces.pack(folder, tmp_path / "few.zip", 64, max_mb=1, count=5)[0] == 5
    with pytest.raises(UserError, match="--max_mb: 13 faces need .* MB at quality 60"):
        pack_faces.pack(folder, tmp_path / "never.zip", 64, max_mb=0.001)
    assert not (tmp_path / "never.zip").exists()


def test_packed_faces_of_one_name_stay_two(tmp_path):
    faces = write_faces(tmp_path / "faces", 1)
    Image.open(faces / "000.png").save(faces / "000.jpg")
    pack_faces.pack(faces, tmp_path / "faces.zip", 32, 1)
    assert zipfile.ZipFile(tmp_path / "faces.zip").namelist() == ["000.jpg.webp", "000.png.webp"]


def test_zip_entries_stay_inside_the_folder(tmp_path):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../../outside.png", b"x")
    folder = timed_training.unpack(tmp_path / "evil.zip", tmp_path / "deep" / "in")
    assert (folder / "outside.png").exists() and not list(tmp_path.glob("outside*"))


@pytest.fixture
def packed(tmp_path):
    for name, count, seed in (("train", 10, 0), ("val", 2, 50)):
        pack_faces.pack(write_faces(tmp_path / name, count, first_seed=seed), tmp_path / f"{name}.zip", 40, max_mb=1)
    return tmp_path


@pytest.fixture
def in_time(packed, monkeypatch, capfd):
    """Returns in_time(work, minutes, *words, resume_from=None), which returns one timed_training call's output."""
    monkeypatch.setattr(sys, "executable", warm_python())  # the tool starts newtrain.py with it

    def call(work, minutes, *words, resume_from=None):
        folder = packed / work
        monkeypatch.setattr(sys, "argv", list(map(str, [
            "timed_training", "--faces", packed / "train.zip", "--val", packed / "val.zip", "--work", folder, "--out",
            folder / "out", "--minutes", minutes, *(["--resume_from", resume_from] if resume_from else []), *words,
            "--", *TINY, "--name", "run", "--train_steps", "20"])))
        status = timed_training.main()
        told = capfd.readouterr()
        assert status == 0, told.out + told.err
        return told.out
    return call


def test_instalments_on_several_machines_make_one_training(packed, in_time, capfd):
    in_time("whole", 100)
    # The first two calls stop at their time limit; the first one also splits its state into small parts.
    # The third call resumes from their output in another folder and runs to the end.
    first = in_time("a", 1e-3, "--part_mb", "0.02")
    assert "--max_minutes 0.001 ended this call after step" in first and "Continue with --continue_train" in first
    step = state(packed / "a" / "run")["progress"]["step"]
    assert 0 < step < 20
    assert len(list((packed / "a" / "out").glob("state_*.part*"))) > 1
    assert all(p.stat().st_size <= 0.02 * 2 ** 20 for p in (packed / "a" / "out").glob("state_*"))
    assert list((packed / "a" / "out").glob("*_net_G.safetensors*"))
    again = in_time("a", 1e-3)
    assert "Continuing after step" in again
    last = in_time("b", 100, resume_from=packed / "a" / "out")
    assert "Continuing after step" in last
    whole, parts = state(packed / "whole" / "run"), state(packed / "b" / "run")
    for part in ("networks", "optimizers", "rng"):
        assert same(whole[part], parts[part]) == ""
    names = {p.name for p in (packed / "b" / "out").iterdir()}
    assert names == {"train.log", "metrics.jsonl", "options.yml", "curves.png", "samples.png",
                     "best_net_G.safetensors", "state_00000020.pth"}
    assert [r["step"] for r in read_metrics(packed / "b" / "out") if r["kind"] == "train"][-1] == 20
    timed_training.bring_back(packed / "b" / "run", packed / "b" / "out", part_mb=15, back_mb=0.2)
    assert "does not fit into --back_mb 0.2 and stays there" in capfd.readouterr().out
    assert not list((packed / "b" / "out").glob("state_*"))


def test_only_results_of_earlier_calls_are_replaced(packed, in_time, tmp_path):
    out = packed / "a" / "out"
    out.mkdir(parents=True)
    for name in ("train.log.part00", "state_00000002.pth.part01", "best_net_G.safetensors"):
        (out / name).touch()
    (out / "thesis.txt").touch()
    with pytest.raises(UserError, match="--out .*: it holds thesis.txt, which is no result of this tool"):
        in_time("a", 1)
    for used in ("run", "train", "val"):
        with pytest.raises(UserError, match=f"--out .* lies in .*{used}, which the training uses"):
            timed_training.check_out(packed / "a" / used / "out", [packed / "a" / used])
    assert len(list(out.iterdir())) == 4 and not (packed / "a" / "train").exists()
    (out / "thesis.txt").unlink()
    timed_training.check_out(out, [])


def test_other_faces_are_unpacked_again_and_nothing_is_lost(packed, tmp_path, capsys):
    folder = tmp_path / "work" / "train"
    assert timed_training.unpack(packed / "val.zip", folder) == folder
    before = {path.name: path.stat() for path in folder.iterdir()}
    timed_training.unpack(packed / "val.zip", folder)  # the same faces: nothing is done
    assert {path.name: path.stat() for path in folder.iterdir()} == before and capsys.readouterr().out == ""
    timed_training.unpack(packed / "train.zip", folder)
    assert "does not hold the faces of" in capsys.readouterr().out and len(list(folder.glob("*.webp"))) == 10
    assert {path.name for path in (tmp_path / "work" / "train.previous").iterdir()} == set(before)
    (folder / "000.webp").write_bytes(b"damaged")
    timed_training.unpack(packed / "train.zip", folder)
    assert len(list(folder.iterdir())) == 10 and (folder / "000.webp").read_bytes() != b"damaged"
    timed_training.unpack(packed / "train.zip", folder)
    assert (tmp_path / "work" / "train.previous.2" / "000.webp").read_bytes() == b"damaged"


@pytest.mark.parametrize("words, message", [
    (["--name", "train"], "--name train: .* is the folder of the faces"), (["--name", "a/b"], "must be a plain folder"),
    (["--name", "run", "--lr", "x"], "--lr"), (["--name", "run", "--valroot", "f", "--val_count", "3"], "contradict")])
def test_a_refused_instalment_unpacks_nothing(packed, monkeypatch, words, message):
    monkeypatch.setattr(sys, "argv", ["tool", "--faces", f"{packed}/train.zip", "--val", f"{packed}/val.zip", "--out",
                                      f"{packed}/out", "--work", f"{packed}/work", "--minutes", "1", "--", *words])
    with pytest.raises(UserError, match=message):
        timed_training.main()
    assert not (packed / "work").exists()


def test_a_missing_checkpoint_is_refused_before_faces_are_unpacked(packed, in_time, tmp_path):
    with pytest.raises(UserError, match="--resume_from .*: the folder has no checkpoint"):
        in_time("a", 1, resume_from=tmp_path)
    assert not (packed / "a").exists()


def test_a_damaged_archive_of_faces_is_one_line(packed):
    whole = bytearray((packed / "train.zip").read_bytes())
    whole[whole.index(b"PK\x01\x02") + 10] = 99  # a way of packing that nobody knows
    (packed / "damaged.zip").write_bytes(whole)
    with pytest.raises(UserError, match="damaged.zip: cannot be unpacked into"):
        timed_training.unpack(packed / "damaged.zip", packed / "new")


def test_a_failed_instalment_fails(packed):
    done = subprocess.run(
        [warm_python(), "-m", "tools.timed_training", "--faces", packed / "train.zip", "--val", packed / "val.zip",
         "--work", packed / "w", "--out", packed / "out", "--minutes", "1", "--", "--name", "run", "--no_such", "1"],
        cwd=ROOT, capture_output=True, text=True, timeout=HUNG)
    assert done.returncode == 2 and "unknown option --no_such" in done.stderr and "Traceback" not in done.stderr


def test_published_weights_restore_as_the_originals(tmp_path):
    torch.manual_seed(0)
    weights = {"conv.weight": torch.randn(8, 8, 3, 3), "norm.running_var": torch.rand(8) + 1e-7,
               "norm.num_batches_tracked": torch.tensor(7)}
    torch.save(weights, tmp_path / "w.pth")
    export_weights.export(tmp_path / "w.pth", tmp_path / "w.safetensors")
    read = read_weights(tmp_path / "w.safetensors")
    assert set(read) == set(weights)
    assert torch.equal(read["conv.weight"], weights["conv.weight"].half().float())
    assert torch.equal(read["norm.running_var"], weights["norm.running_var"])
    assert read["norm.num_batches_tracked"] == 7
    assert (tmp_path / "w.safetensors").stat().st_size < 8 * 8 * 9 * 2 + 500
    torch.save({"conv.weight": torch.full((1, 2), 1e6)}, tmp_path / "large.pth")
    with pytest.raises(UserError, match="conv.weight holds values that exceed float16"):
        export_weights.export(tmp_path / "large.pth", tmp_path / "large.safetensors")
    content = (tmp_path / "w.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(content[:len(content) // 2])
    with pytest.raises(WeightsError, match="cut.safetensors.*cannot be read"):
        read_weights(tmp_path / "cut.safetensors")


def test_published_weights_describe_themselves_and_their_file_is_reproducible(tmp_path, weights, monkeypatch):
    path, net = weights
    words = ["--licence", "for research only", "--commit", "abc123", "--data", "noise"]
    for name in ("a", "b"):
        monkeypatch.setattr(sys, "argv", ["export_weights", str(path), str(tmp_path / f"{name}.safetensors"), *words])
        export_weights.main()
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    described = read_description(tmp_path / "a.safetensors")
    assert described == replace(read_description(path), licence="for research only", commit="abc123", data="noise")
    # A published file can be published again, e.g. with another licence.
    monkeypatch.setattr(sys, "argv", ["export_weights", *[str(tmp_path / "a.safetensors")] * 2, "--licence", "none"])
    export_weights.main()
    assert read_description(tmp_path / "a.safetensors") == replace(described, licence="none")
    a, b = (read_weights(tmp_path / f"{name}.safetensors") for name in "ab")
    assert all(torch.equal(a[name], b[name]) for name in b) and set(a) == set(net.state_dict())
    monkeypatch.setattr(sys, "argv", ["export_weights", str(path), str(tmp_path / "c.safetensors")])
    with pytest.raises(UserError, match="--licence TEXT is required"):
        export_weights.main()
    (tmp_path / "options.yml").unlink()
    with pytest.raises(UserError, match="the network of these weights is unknown"):
        export_weights.main()


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """Replaces pretrained/ by an empty folder."""
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    monkeypatch.setattr(pretrained, "SUMS", tmp_path / "SHA256SUMS")
    return tmp_path


def test_shipped_weights_can_be_replaced(shelf, weights, monkeypatch, capsys):
    target = shelf / "mine" / "generator.safetensors"
    target.parent.mkdir()
    target.write_bytes(b"earlier weights")
    before = pretrained.record_checksum(target)
    monkeypatch.setattr(export_weights, "FOLDER", shelf)
    monkeypatch.setattr(sys, "argv", ["export_weights", str(weights[0]), str(target), "--licence", "any"])
    export_weights.main()
    digest = pretrained.sha256(target)
    assert digest != before and f"sha256 {digest}" in capsys.readouterr().out
    assert pretrained.find_pretrained("mine") == target


def test_checksums_guard_what_ships(shelf):
    path = shelf / "mine" / "generator.safetensors"
    path.parent.mkdir()
    path.write_bytes(b"weights")
    digest = pretrained.record_checksum(path)
    assert (shelf / "SHA256SUMS").read_text() == f"{digest}  mine/generator.safetensors\n"  # the format of sha256sum
    assert digest == hashlib.sha256(b"weights").hexdigest()
    assert pretrained.find_pretrained("mine") == path
    path.write_bytes(b"other weights")
    with pytest.raises(UserError, match="--pretrained mine: the checksum of .* is damaged or was changed"):
        pretrained.find_pretrained("mine")
    with pytest.raises(UserError, match="--pretrained mein: .* there are mine. Did you mean mine"):
        pretrained.find_pretrained("mein")


def test_the_readme_shows_what_newtest_wrote():
    text = (ROOT / "README.md").read_text()
    assert readme_results.BEGIN + readme_results.results_text() + readme_results.END in text


def test_shipped_weights_are_small_checked_and_what_the_results_are_of():
    names = pretrained.pretrained_names()
    assert "sparnet" in names
    for name in names:
        path = pretrained.find_pretrained(name)
        assert path.stat().st_size < 15e6
        card = (path.parent / "MODEL_CARD.md").read_text()
        assert "non-commercial" in card and pretrained.sha256(path) in card
    reports = [json.loads(p.read_text()) for p in (ROOT / "docs" / "results").glob("sparnet_celeba_*.json")]
    card = (pretrained.FOLDER / "sparnet" / "MODEL_CARD.md").read_text()
    digest = pretrained.sha256(pretrained.find_pretrained("sparnet"))
    assert digest in card and [report["weights_sha256"] for report in reports] == [digest] * 2


def test_the_astronaut_is_restored_by_what_ships(tmp_path, monkeypatch, capsys):
    """Runs the example image's command. The scores are close to those measured when the weights were made."""
    monkeypatch.setattr(sys, "argv", ["astronaut", "--results_dir", str(tmp_path), "--device", "cpu"])
    astronaut.main()
    scores = re.findall(r"^(\w+) +([\d.]+) dB / ([\d.]+) \(protocol benchmark\)$", capsys.readouterr().out, re.M)
    (bicubic, low, _), (restored, psnr, ssim) = scores
    assert (bicubic, restored) == ("bicubic", "restored")
    assert float(psnr) == pytest.approx(24.94, abs=0.03) and float(ssim) == pytest.approx(0.7080, abs=0.002)
    assert float(low) == pytest.approx(21.9700, abs=1e-3)
    picture = np.asarray(Image.open(tmp_path / "astronaut" / "astronaut.png")).astype(int)
    shipped = np.asarray(Image.open(ROOT / "docs" / "astronaut.png"))
    assert picture.shape == shipped.shape and np.abs(picture - shipped).max() <= 3
