# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Clips that tests make with ffmpeg, and what is in one."""
import json
import shutil
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest

from data.drawn.builtin_faces import draw_face
from tests.helpers.processes import HUNG

NEEDED = shutil.which("ffmpeg") and shutil.which("ffprobe")
needs_ffmpeg = pytest.mark.skipif(not NEEDED, reason="ffmpeg and ffprobe are not installed")


def face_frames(count, size=40, width=96, height=80, step=0.0, seed=3):
    """Returns [uint8 [height, width, 3]] with a drawn face that moves to the right by `step` pixels per frame."""
    face = draw_face(seed, size).image
    frames = []
    for number in range(count):
        frame = np.full((height, width, 3), 128, np.uint8)
        left = 16 + round(step * number)
        frame[16:16 + size, left:left + size] = face[:, :max(0, width - left)]
        frames.append(frame)
    return frames


def ffmpeg(*words, stdin=None):
    subprocess.run(["ffmpeg", "-y", "-v", "error", *map(str, words)], input=stdin or b"", check=True, timeout=HUNG)


def save_clip(path, frames, *words, rate=25, sound=True, codec=("libx264", "-pix_fmt", "yuv420p", "-crf", "10")):
    """Writes frames, uint8 [H, W, 3], as a clip; words: further options of the output."""
    height, width = frames[0].shape[:2]
    path.parent.mkdir(parents=True, exist_ok=True)
    source = ["-f", "lavfi", "-i", f"sine=d={len(frames) / rate}"] if sound else []
    ffmpeg("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", rate, "-i", "pipe:0", *source,
           "-c:v", *codec, *words, path, stdin=b"".join(frame.tobytes() for frame in frames))
    return path


def probed(path, *words):
    """Returns ffprobe's answer."""
    said = subprocess.run(["ffprobe", "-v", "error", "-of", "json", *words, f"file:{path}"], capture_output=True,
                          check=True, timeout=HUNG)
    return json.loads(said.stdout)


def times(path, stream="v:0"):
    """Returns the sorted times of a stream's packets in its own unit, and that unit."""
    found = probed(path, "-select_streams", stream, "-show_entries", "packet=pts:stream=time_base")
    return sorted(packet["pts"] for packet in found["packets"]), found["streams"][0]["time_base"]


def stream_hash(path, stream):
    """Returns the hash of a stream's packets, without decoding them."""
    return subprocess.run(["ffmpeg", "-v", "error", "-i", f"file:{path}", "-map", f"0:{stream}", "-c", "copy", "-f",
                           "streamhash", "-"], capture_output=True, check=True, timeout=HUNG).stdout


def decoded(path):
    """Returns the frames of a clip as they are stored, uint8 [N, H, W, 3]."""
    stream = probed(path, "-select_streams", "v:0", "-show_streams")["streams"][0]
    pixels = subprocess.run(["ffmpeg", "-v", "error", "-noautorotate", "-i", f"file:{path}", "-map", "0:v:0",
                             "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"],
                            capture_output=True, check=True, timeout=HUNG).stdout
    return np.frombuffer(pixels, np.uint8).reshape(-1, stream["height"], stream["width"], 3)


class Network:
    """Stands in for a Restorer of faces from 12 to 64 pixels; restored: number of faces so far."""
    other_task, batch_size = None, 16
    recipe = SimpleNamespace(depends_on_batch=lambda: False)

    def __init__(self, change=lambda face: face):
        self.change, self.restored = change, 0
        self.description = SimpleNamespace(input_size=64, alignment="celeba", trained_sides=lambda: (12, 64),
                                           trained_side=lambda: None)

    def prepare(self, faces):
        return list(faces)

    def restore_inputs(self, faces):
        self.restored += len(faces)
        return [self.change(face) for face in faces]
