# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The queue of photos and what was made of them. One thread per device takes photos from it.

Everything has a bound (restore/page/limits.py): what is uploaded and waits, and what is kept.
"""
from __future__ import annotations

import contextlib
import re
import secrets
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

from restore.page.limits import Limits
from restore.page.photo_worker import STAGES, Restoring, Result, restore_file
from restore.page.refusal import Refusal
from restore.page.settings import Settings
from utils.errors import NO_MEMORY, UserError

WAITING, DONE, FAILED, CANCELLED = "waiting", "done", "failed", "cancelled"
ENDS = (DONE, FAILED, CANCELLED)


class _Cancelled(Exception):
    """Ends the work on a photo at its next stage."""


class Job:
    """One photo. state: WAITING, one of STAGES, or one of ENDS. Only Jobs changes it, under its lock.

    watched: whether a page asks for it again and again; then it also gets previews. asked: when it was last asked for.
    result, refusal: one of them, once `finished` is done; `refusal` is raised as a copy only.
    """

    def __init__(self, name: str, content: bytes, settings: Settings, watched: bool, now: float) -> None:
        self.id = secrets.token_urlsafe(16)
        self.name, self.content, self.settings, self.watched = name, content, settings, watched
        self.state, self.cancelling, self.asked = WAITING, False, now
        self.size = len(content)  # bytes it takes
        self.result: Result | None = None
        self.refusal: Refusal | None = None
        self.finished: Future[None] = Future()
        self.finished.set_running_or_notify_cancel()  # from now on only Jobs ends it

    @property
    def download_name(self) -> str:
        """Name of the restored photo's file."""
        return self.name + (self.result.suffix if self.result else "")


class Upload:
    """Room for one photo that is being uploaded; `grow` counts its bytes as they come."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs, self.size = jobs, 0

    def grow(self, count: int) -> None:
        """Raises Refusal if the photo, or all that wait together, take too many bytes."""
        self.size += count
        self._jobs.take_bytes(count)


class Jobs:
    """The queue, its threads and the finished photos. All methods may be called from any thread.

    workers: one per device. clock: seconds.
    """

    def __init__(self, workers: Sequence[Restoring], limits: Limits, clock: Callable[[], float] = time.monotonic
                 ) -> None:
        self.limits, self._clock = limits, clock
        self._changed = threading.Condition()
        self._jobs: dict[str, Job] = {}  # those that have ended in the order in which they did
        self._queue: deque[Job] = deque()
        self._places = self._waiting_bytes = self._kept_bytes = 0
        self._closed = False
        self._threads = [threading.Thread(target=self._work, args=(worker,), name=f"photos {number}", daemon=True)
                         for number, worker in enumerate(workers)]
        for thread in self._threads:
            thread.start()

    @contextlib.contextmanager
    def uploading(self) -> Iterator[Upload]:
        """Holds a place in the queue during the block, in which `add` may hand it on. Raises Refusal if it is full."""
        with self._changed:
            self._check_open()
            if self._places >= self.limits.queue:
                raise Refusal("busy")
            self._places += 1
        upload = Upload(self)
        try:
            yield upload
        finally:
            with self._changed:  # `add` has taken another place
                self._places -= 1
                self._waiting_bytes -= upload.size

    def take_bytes(self, count: int) -> None:
        """Counts bytes of an upload. Raises Refusal if all that wait take too many."""
        with self._changed:
            self._waiting_bytes += count
            if self._waiting_bytes > self.limits.waiting_bytes:
                raise Refusal("busy")

    def add(self, name: str, content: bytes, settings: Settings, watched: bool) -> Job:
        """Puts a photo into the queue; only within `uploading`. Returns its Job."""
        job = Job(name, content, settings, watched, self._clock())
        with self._changed:
            self._check_open()
            self._places += 1
            self._waiting_bytes += job.size
            self._jobs[job.id] = job
            self._queue.append(job)
            self._changed.notify()
        return job

    def _check_open(self):
        if self._closed:
            raise Refusal("closing")

    def get(self, photo_id: str) -> Job:
        """Returns the Job with this id. Raises Refusal if there is none."""
        self.tidy()
        with self._changed:
            job = self._jobs.get(photo_id)
            if job is None:
                raise Refusal("unknown_photo")
            job.asked = self._clock()
            return job

    def describe(self, photo_id: str) -> dict[str, Any]:
        """Returns how far a photo is, for JSON. Raises Refusal for an unknown id."""
        job = self.get(photo_id)
        with self._changed:
            about: dict[str, Any] = {"id": job.id, "name": job.name, "state": job.state}
            if job.state == WAITING:
                about["ahead"] = self._queue.index(job)
            elif job.state == DONE:
                about |= {"file": job.download_name, "report": job.result.report}
            elif job.refusal:
                about |= job.refusal.record()
            return about

    def cancel(self, photo_id: str) -> None:
        """Removes a photo: one that waits or is finished at once, one that is being restored after its stage."""
        with self._changed:
            job = self._jobs.get(photo_id)
            if job:
                self._cancel(job)

    def _cancel(self, job):
        if job.state in STAGES:
            job.cancelling = True
            return
        if job.state == WAITING:
            self._queue.remove(job)
            self._end(job, CANCELLED, refusal=Refusal("cancelled"))
        else:
            self._forget(job)

    def _forget(self, job):
        del self._jobs[job.id]
        if job.result:
            self._kept_bytes -= job.result.size

    def tidy(self) -> None:
        """Forgets results that nobody asks for any more, and cancels photos whose page no longer asks for them."""
        now, limits = self._clock(), self.limits
        with self._changed:
            for job in [job for job in self._jobs.values() if job.state not in ENDS]:
                if job.watched and now - job.asked > limits.abandoned_seconds:
                    self._cancel(job)
            for job in [job for job in self._jobs.values() if job.state in ENDS]:
                if now - job.asked > limits.kept_seconds:
                    self._forget(job)

    def _forget_oldest(self):
        """Forgets results beyond the limits, the oldest first. The lock is held."""
        ended = deque(job for job in self._jobs.values() if job.state in ENDS)
        while len(ended) > self.limits.kept or (self._kept_bytes > self.limits.kept_bytes and len(ended) > 1):
            self._forget(ended.popleft())

    def counts(self) -> dict[str, int]:
        """Returns how many photos there are, and the bytes that they take, for tests and measurements."""
        with self._changed:
            return {"queue": self._places, "waiting_bytes": self._waiting_bytes, "known": len(self._jobs),
                    "kept_bytes": self._kept_bytes}

    def close(self, seconds: float = 0.0) -> bool:
        """Cancels everything and lets the threads end; returns whether they have ended within `seconds`."""
        with self._changed:
            self._closed = True
            for job in list(self._jobs.values()):
                self._cancel(job)
                if not job.finished.done():  # its thread still computes; who waits for it gets an answer now
                    job.refusal = Refusal("closing")
                    job.finished.set_result(None)
            self._changed.notify_all()
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self, restore):
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closed)
                if self._closed:
                    return
                job = self._queue.popleft()
                job.state = STAGES[0]
            self._restore(job, restore)
            self.tidy()
            del job  # it may have been forgotten meanwhile: its memory is free while this thread waits

    def _restore(self, job, restore):
        result = refusal = None
        try:
            result = restore_file(job.content, job.settings, restore, lambda stage: self._enter(job, stage),
                                  self.limits, job.watched)
        except _Cancelled:
            refusal = Refusal("cancelled")
        except Refusal as error:
            refusal = error.copy()
        except UserError as error:
            refusal = Refusal("bad_photo", reason=str(error).rstrip("."))
        except Exception as error:  # of this one photo: the others go on
            refusal = Refusal("no_memory" if re.search(NO_MEMORY, str(error)) else "failed")
            print(f"error: a photo could not be restored\n{traceback.format_exc()}", file=sys.stderr, flush=True)
        with self._changed:
            if job.cancelling:
                result, refusal = None, Refusal("cancelled")
            state = DONE if result else CANCELLED if refusal.code == "cancelled" else FAILED
            self._end(job, state, result, refusal)

    def _enter(self, job, stage):
        with self._changed:
            if job.cancelling:
                raise _Cancelled
            job.state = stage

    def _end(self, job, state, result=None, refusal=None):
        job.state, job.result, job.refusal, job.content = state, result, refusal, b""
        job.asked = self._clock()
        self._places -= 1
        self._waiting_bytes -= job.size
        if result:
            self._kept_bytes += result.size
        self._jobs[job.id] = self._jobs.pop(job.id)
        if state == CANCELLED:
            self._forget(job)
        self._forget_oldest()  # before anybody is answered: the limits hold at every moment
        if not job.finished.done():
            job.finished.set_result(None)
