# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Measures videos (restore/video.py): how much faces flicker, and where the time goes.

    python -m benchmarks.video [--frames 48] [--json video.json]

The clip shows the astronaut of scikit-image, 480 pixels wide, with a face of about 60 pixels: still or moving, with
sensor noise of a given standard deviation or without. search: frames from one search for faces to the next. flicker:
mean squared difference of neighbouring frames in the face, restored divided by as given; "alone" if each frame is
restored as a photo. jitter: standard deviation of the face's points around their true path, in eyes' distances. Times
are CPU milliseconds per frame, also of ffmpeg, which reads and writes the clip as H.264.
"""
import contextlib
import os
import tempfile
from collections import deque
from pathlib import Path

import cv2
import numpy as np
import skimage.data
import torch

from benchmarks.measuring import machine, show
from restore import tracks
from restore.ffmpeg import running
from restore.photo import PhotoRestorer
from restore.restorer import Restorer
from restore.video import VideoRestorer
from restore.video_file import Frame, read_video, reading, writing
from utils.errors import run_main
from utils.option_types import at_least, file_path, tool_parser

WIDTH, HEIGHT, SIDE = 480, 360, 320  # of the clip and of the astronaut in pixels
FACE = (slice(55, 130), slice(150, 212))  # rows and columns of the face of a still clip
RATE = 25
CASES = (("still", 0, 8), ("still", 3, 8), ("still", 8, 8), ("moving", 3, 1), ("moving", 3, 4), ("moving", 3, 8))


def path(case, frame):
    """Returns by how many pixels the picture has moved in a frame."""
    return (0.0, 0.0) if case == "still" else (2.0 * frame, 12 * np.sin(frame / 6))


def clip(case, noise, count):
    """Returns the frames, uint8 [HEIGHT, WIDTH, 3]."""
    photo = cv2.resize(skimage.data.astronaut(), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    rng, frames = np.random.default_rng(0), []
    for frame in range(count):
        x, y = path(case, frame)
        moved = cv2.warpAffine(photo, np.array([(1, 0, x + 40), (0, 1, y + 20)], float), (WIDTH, HEIGHT),
                               flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        frames.append(np.clip(np.rint(moved + rng.normal(0, noise, moved.shape)), 0, 255).astype(np.uint8))
    return frames


def cpu_seconds():
    """Returns the CPU time of this process and of the children that have ended."""
    return sum(os.times()[:4])


def timed(job, count):
    """Returns (result, CPU milliseconds per frame)."""
    start = cpu_seconds()
    result = job()
    return result, (cpu_seconds() - start) / count * 1000


def flicker(frames, before):
    """Returns the flicker in the face, divided by that of `before`; "" where that has none."""
    def steps(pictures):
        return (np.diff(np.stack([picture[FACE] for picture in pictures]).astype(float), axis=0) ** 2).mean()
    return float(steps(frames) / steps(before)) if steps(before) else ("" if steps(frames) else 0.0)


def jitter(photo, case, frames):
    """Returns the jitter of a clip's one face."""
    tracker = tracks.Tracker(photo.find, photo.follow, photo.judge)
    points = []
    for frame, picture in enumerate(frames):
        tracker.add(picture)
        if frame >= tracks.RADIUS:
            place = frame - tracks.RADIUS
            points += [one.found.face.points - path(case, place) for one in tracker.placed(place)[:1]]
    points = np.stack(points)
    return float(points.std(0).mean() / np.linalg.norm(points[0, 1] - points[0, 0]))


def measure(photo, case, noise, search, count):
    """Returns the row of one case."""
    tracks.SEARCH = search
    frames = clip(case, noise, count)
    restore = VideoRestorer(photo)
    restored, all_ms = timed(lambda: list(restore(frames)), count)
    _, find_ms = timed(lambda: deque(map(tracks.Tracker(photo.find, photo.follow, photo.judge).add, frames),
                                     maxlen=0), count)
    alone, alone_ms = timed(lambda: [photo(frame)[0] for frame in frames], count)
    still = case == "still"
    return {"case": f"{case}, noise {noise}", "search": search, "searched": restore.searches, "frames": count,
            "tracks": len(restore.tracks), "flicker": flicker(restored, frames) if still else "",
            "alone": flicker(alone, frames) if still else "", "jitter": jitter(photo, case, frames),
            "find and follow ms": find_ms, "restore and paste ms": all_ms - find_ms, "all ms": all_ms,
            "alone ms": alone_ms}


def file_ms(frames):
    """Returns CPU milliseconds per frame of reading a clip from a file, and of writing one."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "a.mp4", Path(folder) / "b.mp4"
        made = ["-f", "lavfi", "-i", f"testsrc2=s={WIDTH}x{HEIGHT}:r={RATE}:d={len(frames) / RATE}", "-c:v", "libx264",
                "-pix_fmt", "yuv420p", str(source)]
        with running(["-y", *made], source) as encoder:
            encoder.finish()
        video = read_video(source)

        def read():
            with reading(video) as reader:
                return sum(1 for _ in reader)

        def write():
            with contextlib.ExitStack() as on:
                all_frames = [Frame(frame, number / video.rate, 1 / video.rate) for number, frame in enumerate(frames)]
                writer = on.enter_context(writing(video, all_frames[0], target, target))
                for frame in all_frames:
                    writer.write(frame)
                writer.finish()
        return timed(read, len(frames))[1], timed(write, len(frames))[1]


def main():
    parser = tool_parser(__doc__)
    parser.add_argument("--frames", type=at_least(20, int, 1000), default=48, help="frames of the clip; default: 48")
    parser.add_argument("--json", type=file_path, default=None, help="file for the table")
    a = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    photo = PhotoRestorer({"face128": Restorer.load("face128", "cpu")})
    photo(clip("still", 0, 1)[0])
    rows = []
    for case in CASES:
        rows.append(measure(photo, *case, a.frames))
        print("  ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in rows[-1].items()),
              flush=True)
    read_ms, write_ms = file_ms(clip("moving", 3, a.frames))
    show(f"Videos of {WIDTH}x{HEIGHT} on {machine(torch.device('cpu'))}; ffmpeg: reading {read_ms:.0f} ms per frame, "
         f"writing {write_ms:.0f} ms", rows, a.json)


if __name__ == "__main__":
    run_main(main)
