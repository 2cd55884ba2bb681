# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Videos that pass through unchanged: all that is not the picture is the same afterwards."""
import contextlib
import os
import shutil
import signal
from fractions import Fraction

import numpy as np
import pytest

from restore import ffmpeg as programs
from restore import video_file
from restore.ffmpeg import MISSING
from restore.video_file import read_video, reading, writing
from tests.helpers.videos import decoded, face_frames, ffmpeg, needs_ffmpeg, probed, save_clip, stream_hash, times
from utils.files import WriteError
from utils.images import BadImage

pytestmark = needs_ffmpeg


def passed_through(source, target):
    """Writes the video again; returns the frames that were read."""
    video = read_video(source)
    frames = []
    with contextlib.ExitStack() as running:
        reader, writer = running.enter_context(reading(video)), None
        for frame in reader:
            frames.append(frame)
            if writer is None:
                writer = running.enter_context(writing(video, frame, target, target))
            writer.write(frame)
        writer.finish()
    return frames


def test_lossless_video_keeps_every_pixel(tmp_path):
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (34, 46, 3), np.uint8) for _ in range(5)]
    clip = save_clip(tmp_path / "clip.mkv", frames, codec=("ffv1", "-pix_fmt", "bgr0"))
    read = passed_through(clip, tmp_path / "out.mkv")
    assert np.array_equal([frame.pixels for frame in read], frames)
    assert np.array_equal(decoded(tmp_path / "out.mkv"), frames)
    assert read[3].time - read[0].time == Fraction(120, 1000) and times(clip) == times(tmp_path / "out.mkv")
    assert stream_hash(clip, "a") == stream_hash(tmp_path / "out.mkv", "a")


def test_no_time_limit_holds_for_counting_the_frames_of_a_long_video(tmp_path, monkeypatch):
    clip = save_clip(tmp_path / "clip.mp4", face_frames(3), sound=False)
    video = read_video(clip)
    monkeypatch.setattr(programs, "PROBE_SECONDS", 0)
    with pytest.raises(BadImage, match="did not answer"):
        read_video(clip)
    with reading(video) as reader:
        frames = list(reader)
    with writing(video, frames[0], tmp_path / "out.mp4", tmp_path / "out.mp4") as writer:
        for frame in frames:
            writer.write(frame)
        writer.finish()
    assert len(decoded(tmp_path / "out.mp4")) == 3


VARIABLE = ("-vf", "setpts=N*N*300+N*1000+4500,settb=1/90000", "-fps_mode", "passthrough", "-enc_time_base", "-1",
            "-video_track_timescale", "90000")


def test_times_sound_subtitles_and_descriptions_survive(tmp_path):
    (tmp_path / "a.srt").write_text("1\n00:00:00,100 --> 00:00:00,400\nhello\n", encoding="utf-8")
    first = save_clip(tmp_path / "first.mp4", face_frames(12), *VARIABLE, "-c:a", "aac")
    clip = tmp_path / "clip.mp4"
    ffmpeg("-i", first, "-i", tmp_path / "a.srt", "-map", "0", "-map", "1", "-c", "copy", "-c:s", "mov_text",
           "-metadata", "title=Ours", "-metadata", "creation_time=2001-02-03T04:05:06Z",
           "-metadata:s:a:0", "language=fra", "-metadata:s:v:0", "rotate=90", "-copyts", clip)
    out = tmp_path / "out.mp4"
    turns = read_video(clip).turns  # 0 where ffmpeg has another option for the display matrix, from version 6 on
    frames = passed_through(clip, out)
    assert frames[0].pixels.shape == ((96, 80, 3) if turns else (80, 96, 3))  # upright
    assert times(clip) == times(out) and times(clip, "a:0") == times(out, "a:0") and len(times(out)[0]) == 12
    assert len({b - a for a, b in zip(times(out)[0], times(out)[0][1:], strict=False)}) == 11  # not one rate
    assert stream_hash(clip, "a") == stream_hash(out, "a")
    ffmpeg("-i", out, "-map", "0:s", tmp_path / "out.srt")
    assert (tmp_path / "out.srt").read_text(encoding="utf-8").split() == (tmp_path / "a.srt").read_text().split()
    tags = probed(out, "-show_format")["format"]["tags"]
    assert tags["title"] == "Ours" and tags["creation_time"].startswith("2001-02-03T04:05:06")
    streams = {stream["codec_type"]: stream for stream in probed(out, "-show_streams")["streams"]}
    assert streams["audio"]["tags"]["language"] == "fra"
    before = next(s for s in probed(clip, "-show_streams")["streams"] if s["codec_type"] == "video")
    before, after = ([data["displaymatrix"] for data in stream.get("side_data_list", ()) if "displaymatrix" in data]
                     for stream in (before, streams["video"]))
    assert before == after and len(after) == bool(turns)
    assert abs(decoded(out).astype(int) - decoded(clip)).mean() < 1.5


def test_colours_and_shape_of_pixels_survive(tmp_path):
    matrix, value_range = "bt709", "pc"
    frames = [np.full((48, 64, 3), colour, np.uint8) for colour in ((200, 40, 40), (30, 180, 60), (250, 250, 5))]
    clip = save_clip(tmp_path / "clip.mkv", frames, "-vf", f"scale=out_color_matrix={matrix}:out_range={value_range},"
                     "format=yuv420p,setsar=16/11", "-colorspace", matrix, "-color_range", value_range,
                     "-color_primaries", "bt709", "-color_trc", "bt709", sound=False, codec=("libx264", "-crf", "1"))
    read = passed_through(clip, tmp_path / "out.mkv")
    assert max(abs(a.pixels.astype(int) - b).max() for a, b in zip(read, frames, strict=True)) <= 4
    names = ("color_range", "color_space", "color_primaries", "color_transfer", "sample_aspect_ratio", "pix_fmt")
    before, after = (probed(path, "-show_streams")["streams"][0] for path in (clip, tmp_path / "out.mkv"))
    assert {name: before.get(name) for name in names} == {name: after.get(name) for name in names}
    assert before["sample_aspect_ratio"] == "16:11" and before["color_range"] == value_range


def test_odd_sizes_and_other_containers_are_written(tmp_path):
    clip = save_clip(tmp_path / "clip.avi", [frame[:79, :95] for frame in face_frames(4)], sound=False,
                     codec=("mpeg4", "-q:v", "2"))
    video = read_video(clip)
    assert (video.suffix, video.muxer, video.size) == (".mkv", "matroska", (95, 79))
    passed_through(clip, tmp_path / "out.mkv")
    assert decoded(tmp_path / "out.mkv").shape == (4, 79, 95, 3)


def test_files_that_are_no_videos_or_lead_elsewhere_are_refused(tmp_path, monkeypatch):
    clip = save_clip(tmp_path / "clip.mp4", face_frames(3), sound=False)
    monkeypatch.chdir(tmp_path)
    for name in ("-f http:x.mp4", "concat:clip.mp4|%d.mp4"):
        shutil.copy(clip, f"./{name}")
        assert read_video(name).frames == 3

    def refused(name, content, why):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(BadImage, match=why):
            read_video(path)

    refused("list.mp4", b"ffconcat version 1.0\nfile clip.mp4\n", "a list of other files")
    refused("list.mkv", b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:1,\nclip.mp4\n#EXT-X-ENDLIST\n", "cannot read it")
    refused("empty.mp4", b"", "cannot read it")
    refused("half.mp4", (tmp_path / "clip.mp4").read_bytes()[:1000], "cannot read it")
    ffmpeg("-f", "lavfi", "-i", "sine=d=0.2", "-c:a", "aac", tmp_path / "sound.mp4")
    refused("sound2.mp4", (tmp_path / "sound.mp4").read_bytes(), "only sound")
    deep = save_clip(tmp_path / "deep.mkv", face_frames(1), sound=False, codec=("ffv1", "-pix_fmt", "yuv420p10le"))
    refused("deep2.mkv", deep.read_bytes(), "more than 8 bits")
    monkeypatch.setattr(video_file, "MOST_PIXELS", 1000)
    refused("large.mp4", (tmp_path / "clip.mp4").read_bytes(), "more than 1,000")
    monkeypatch.setenv("PATH", str(tmp_path))
    refused("missing.mp4", b"", MISSING[:40])


def test_an_encoder_that_dies_is_a_write_error(tmp_path):
    clip = save_clip(tmp_path / "clip.mp4", face_frames(40, width=640, height=480), sound=False)
    video, target = read_video(clip), tmp_path / "out.mp4"
    with pytest.raises(WriteError, match="out.mp4: ffmpeg's encoder failed: signal 9"), contextlib.ExitStack() as on:
        reader = on.enter_context(reading(video))
        frames = iter(reader)
        first = next(frames)
        writer = on.enter_context(writing(video, first, target, target))
        os.kill(writer._encoder.child.pid, signal.SIGKILL)
        for frame in frames:
            writer.write(frame)
        writer.finish()
    for running in (writer._encoder, reader._decoder):
        assert running.child.returncode is not None


def test_a_file_that_cannot_be_written_is_a_write_error(tmp_path):
    clip = save_clip(tmp_path / "clip.mp4", face_frames(2), sound=False)
    with pytest.raises(WriteError, match="No such file"):
        passed_through(clip, tmp_path / "missing" / "out.mp4")
