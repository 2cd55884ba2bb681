# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""A page without networks: its restorer is quick, and finds one face in each photo that is not black."""
import contextlib
import io
import socket
import threading
import time

import numpy as np
import uvicorn
from PIL import Image

from restore.face_finder import Face
from restore.page.jobs import Jobs
from restore.page.limits import Limits
from restore.page.server import Server
from restore.paste_back import RestoredCrop
from restore.photo import FoundFace

SIZE = 16
POINTS = np.array([(3, 3), (7, 3), (5, 5), (3, 7), (7, 7)], np.float32)


def stub(pixels, settings, enter):
    """Inverts the first pixels of a photo, its face; a second face is too small."""
    enter("finding")
    crop = np.zeros((SIZE, SIZE, 3), np.uint8)
    faces = [FoundFace(Face(POINTS, (2.0, 2.0, 8.0, 8.0), 0.9, 0.9, 0.0), 12.0, "stub",
                       crop=RestoredCrop(np.eye(2, 3), crop, crop)),
             FoundFace(Face(POINTS + 20, (22.0, 22.0, 4.0, 4.0), 0.8, 0.9, 0.0), 4.0, "stub",
                       "too small: 4.0 pixels, 9.0 are needed")] if pixels.any() else []
    enter("restoring")
    result = pixels.repeat(settings.upscale, 0).repeat(settings.upscale, 1)
    if faces:
        result[2:10, 2:10] = 255 - result[2:10, 2:10]
    return result, faces


class Gate:
    """A stub that waits until `open` is set; `entered` counts its photos."""

    def __init__(self):
        self.open, self.entered = threading.Event(), threading.Semaphore(0)

    def __call__(self, pixels, settings, enter):
        enter("finding")
        self.entered.release()
        assert self.open.wait(60)
        return stub(pixels, settings, enter)

    def wait(self):
        assert self.entered.acquire(timeout=60)


def photo_file(kind="PNG", size=(40, 30), seed=0, **options):
    """Returns the bytes of a photo's file."""
    file = io.BytesIO()
    noise = np.random.default_rng(seed).integers(1, 255, (size[1], size[0], 3), np.uint8)
    Image.fromarray(noise).save(file, kind, **options)
    return file.getvalue()


def until(condition, seconds=60):
    """Waits for a condition that another thread makes true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@contextlib.contextmanager
def serving(*workers, limits=None, token=None):
    """Serves a page at 127.0.0.1; yields (its address, Jobs)."""
    jobs = Jobs(workers or [stub], limits or Limits())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(
            Server(jobs, "127.0.0.1", token).app, http="h11", ws="none", lifespan="on", log_level="critical",
            timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            until(lambda: server.started)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", jobs
        finally:
            jobs.close()
            server.should_exit = True
            thread.join(20)
