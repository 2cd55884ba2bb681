# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""newphoto.py with videos: what it writes, and what it leaves when it is stopped."""
import json
import os
import signal

import numpy as np
import pytest
from PIL import Image

from engine import video_run
from restore.restorer import Restorer
from tests.helpers.photos import photo_caller
from tests.helpers.videos import Network, decoded, face_frames, needs_ffmpeg, probed, save_clip, stream_hash
from utils import signals

pytestmark = needs_ffmpeg


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Returns a function: newphoto.py with a network that darkens, (path, words) -> (status, output folder)."""
    network = Network(lambda face: face // 2)
    monkeypatch.setattr(Restorer, "load", lambda path, device: network)
    (tmp_path / "w.safetensors").write_bytes(b"")
    call = photo_caller(tmp_path, tmp_path / "w.safetensors")
    call.network = network
    return call


def test_a_folder_of_photos_and_videos_is_restored_once(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(video_run, "SAID_EVERY", 0)
    clip = save_clip(tmp_path / "in" / "deep" / "clip.mp4", face_frames(12, step=1))
    plain = save_clip(tmp_path / "in" / "plain.avi", [np.full((80, 96, 3), 128, np.uint8)] * 3, codec=("mpeg4",),
                      sound=False)
    (tmp_path / "in" / "bad.mkv").write_bytes(b"none")
    Image.fromarray(face_frames(1)[0]).save(tmp_path / "in" / "photo.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".123.0123abcd.tmp").write_bytes(b"left by a killed call")
    status, out = run(tmp_path / "in")
    printed = capsys.readouterr()
    assert status == 1 and "2 restored, 1 unchanged, 1 skipped" in printed.out
    assert "error: 1 photos or videos could not be read or written" in printed.err
    assert "deep/clip.mp4: 1 of 1 faces restored in 12 frames" in printed.out
    assert "clip.mp4: 6 of 12 frames, " in printed.out and " frames/s, " in printed.out and " s left" in printed.out
    assert "plain.avi: no face found in 3 frames, unchanged" in printed.out
    assert "bad.mkv: skipped: ffmpeg cannot read it" in printed.out
    assert (out / "plain.avi").read_bytes() == plain.read_bytes() and not list(out.glob(".*.tmp"))
    before, after = decoded(clip).astype(int), decoded(out / "deep" / "clip.mp4").astype(int)
    for number in (0, 6, 11):
        face = (slice(28, 48), slice(26 + number, 46 + number))
        assert (before - after)[number][face].mean() > 30 and abs(before - after)[number, :, 84:].mean() < 3
    assert stream_hash(clip, "a") == stream_hash(out / "deep" / "clip.mp4", "a")
    report = json.loads((out / "newphoto" / "reports" / "deep" / "clip.mp4.json").read_text())
    track, = report["tracks"]
    assert (report["frames"], track["first"], track["last"], track["restored"]) == (12, 0, 11, 12)
    assert report["searched"] == 2 and track["weights"] == {"w.safetensors": 12} and track["sides"][0] > 20

    changed = (out / "deep" / "clip.mp4").stat().st_mtime_ns
    assert run(tmp_path / "in")[0] == 1 and "1 skipped, 3 done before" in capsys.readouterr().out
    assert (out / "deep" / "clip.mp4").stat().st_mtime_ns == changed


def test_an_enlarged_video_of_another_container_becomes_matroska(run, tmp_path, capsys):
    clip = save_clip(tmp_path / "clip.avi", face_frames(3), codec=("mpeg4",), sound=False)
    status, out = run(clip, "--upscale", 2, "--max_face", 20, "--save_faces")
    assert status == 0 and "0 of 1 faces restored in 3 frames; left as it is in 3 frames: too large" in \
        capsys.readouterr().out
    stream = probed(out / "clip.avi.mkv", "-show_streams")["streams"][0]
    assert (stream["width"], stream["height"], stream["codec_name"]) == (192, 160, "h264")
    (out / "newphoto" / "reports" / "clip.avi.json").unlink()
    assert run(clip, "--upscale", 2)[0] == 1 and "is there already" in capsys.readouterr().out


def test_a_video_that_is_stopped_leaves_nothing_and_is_restored_by_the_next_call(run, tmp_path):
    clip = save_clip(tmp_path / "clip.mp4", face_frames(30, step=1), sound=False)
    children = []

    def stopping(face):
        if run.network.restored > 8:
            children.extend(_children())
            os.kill(os.getpid(), signal.SIGTERM)
        return face // 2
    run.network.change = stopping
    with pytest.raises(signals.Stopped), signals.handling(signals.raise_stopped):
        run(clip)
    assert len(children) == 2 and not _children()
    left = [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert not [name for name in left if "clip" in name or "tmp" in name], left
    run.network.change = lambda face: face // 2
    status, out = run(clip)
    assert status == 0 and len(decoded(out / "clip.mp4")) == 30


def _children():
    """Returns the ids of this process's ffmpegs, also of those that have ended and were not waited for."""
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="utf-8") as file:
        return [child for child in file.read().split() if "ffmpeg" in _name(child)]


def _name(child):
    try:
        with open(f"/proc/{child}/comm", encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""


def test_without_ffmpeg_a_line_says_how_to_get_it(run, tmp_path, capsys, monkeypatch):
    (tmp_path / "clip.mp4").write_bytes(b"any")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run(tmp_path / "clip.mp4")[0] == 1
    assert "clip.mp4: skipped: ffmpeg and ffprobe, version 5.1 or later, are needed" in capsys.readouterr().out


def test_a_video_that_changes_while_it_is_read_is_skipped(run, tmp_path, capsys):
    clip = save_clip(tmp_path / "clip.mp4", face_frames(3), sound=False)

    def touching(face):
        os.utime(clip, (1, 1))
        return face
    run.network.change = touching
    status, out = run(clip)
    assert status == 1 and "it was changed while it was read" in capsys.readouterr().out
    assert not (out / "clip.mp4").exists() and np.all([not path.name.endswith("tmp") for path in out.iterdir()])
