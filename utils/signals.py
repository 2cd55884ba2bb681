# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Signals that end a program in order, and waits that end.

A program that run_main (utils/errors.py) runs ends at SIGTERM, Ctrl-C (SIGINT) or a hang-up (SIGHUP) with one line and
the exit status 128 + the signal's number. A training notes the signal instead (StopSignals), saves, and ends. A wait
for something that may never come is put into `bounded_wait`.
"""
from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

GRACE = 1.0  # seconds that a wait may go on after a signal: cut off in the middle, a worker's message would be lost
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Stopped(BaseException):
    """A signal asked the program to end. A BaseException: code that handles any error of a bad file must not take it.

    number: the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


class WaitTimedOut(BaseException):
    """The time of a bounded_wait has passed. A BaseException for the same reason as Stopped."""


def exit_status(number: int) -> int:
    """Returns the exit status of a program that the signal `number` ended, as a shell reports it."""
    return 128 + number


@contextlib.contextmanager
def handling(handler) -> Iterator[None]:
    """Within, `handler(number, frame)` receives the ENDING signals. An ignored SIGHUP (nohup) stays ignored."""
    global _raised
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    taken = [n for n in ENDING if n != signal.SIGHUP or signal.getsignal(n) != signal.SIG_IGN]
    previous = {number: signal.signal(number, handler) for number in taken}
    try:
        yield
    finally:
        if handler is raise_stopped:
            _raised = None
        for number, old in previous.items():
            signal.signal(number, old)


_raised: int | None = None  # the last signal that raise_stopped received


def raise_stopped(number, frame) -> None:
    """A handler that ends what the program does: raises Stopped.

    Python drops an exception while it deletes an object or forks; the next bounded_wait then raises Stopped.
    """
    global _raised
    _raised = number
    raise Stopped(number)


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """An ENDING signal in the block is handled at its end. For blocks that fork, or must not be left half done."""
    received = []
    with handling(lambda number, frame: received.append(number)):
        yield
    if received:
        signal.raise_signal(received[-1])


@contextlib.contextmanager
def ending_in_time(leave) -> Iterator[None]:
    """An ENDING signal in the block ends the process within GRACE seconds, even if the block waits outside of Python.

    leave(number) must end the process; a thread calls it if the signal's handler has not ended the block by then, e.g.
    because C++ code waits for a rank that is gone. For blocks before which there is nothing to save.
    """
    if threading.current_thread() is not threading.main_thread():  # it receives no signals
        yield
        return
    ended = threading.Event()
    numbers, written = os.pipe()

    def watch():
        while received := os.read(numbers, 1):
            if received[0] in ENDING:
                if not ended.wait(GRACE):
                    leave(received[0])
                return
    os.set_blocking(written, False)
    previous = signal.set_wakeup_fd(written, warn_on_full_buffer=False)
    watcher = threading.Thread(target=watch, name="signals", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        signal.set_wakeup_fd(previous)
        os.close(written)
        watcher.join()
        os.close(numbers)


class StopSignals:
    """Notes a signal while the `with` block runs; it ends nothing but a bounded_wait.

    received: number of the last signal, or None. waiting: whether the program is within a bounded_wait.
    """

    _current: StopSignals | None = None

    def __init__(self) -> None:
        self.received: int | None = _raised
        self.waiting = False  # set by bounded_wait
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> StopSignals:
        self._stack.enter_context(handling(self._note))
        StopSignals._current = self
        return self

    def __exit__(self, *exc_info) -> None:
        StopSignals._current = None
        self._stack.close()

    def _note(self, number, frame):
        self.received = number
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a second Ctrl-C stops at once
        if self.waiting:
            signal.setitimer(signal.ITIMER_REAL, GRACE, 1.0)


@contextlib.contextmanager
def bounded_wait(seconds: float) -> Iterator[None]:
    """Raises WaitTimedOut if the block takes longer than `seconds`, and Stopped if a signal came before or within it.

    Whatever the block waits for in Python (a queue, a socket, a file) is interrupted. In another thread than the main
    one, which receives no signals, the block runs without a limit.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stopping = StopSignals._current or StopSignals()

    def ring(number, frame):
        raise Stopped(stopping.received) if stopping.received else WaitTimedOut
    previous = signal.signal(signal.SIGALRM, ring)
    try:
        # Repeats: an exception that is raised while an object is deleted would be lost.
        signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
        stopping.waiting = True
        if stopping.received:
            raise Stopped(stopping.received)
        yield
    finally:
        stopping.waiting = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
