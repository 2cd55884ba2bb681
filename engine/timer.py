# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Seconds per step, measured with the device synchronised; the first steps do not count."""
import time

import torch

import utils.device

SKIPPED_STEPS = 10  # at the start of a run, which warm up (kernels are chosen, memory is allocated, workers start)


class HostClock:
    """torch.Event's interface for a device whose work is done when a call returns."""

    def record(self) -> None:
        """Reads the clock."""
        self.time = time.perf_counter()

    def elapsed_time(self, end: "HostClock") -> float:
        """Returns the milliseconds from this reading to `end`."""
        return (end.time - self.time) * 1e3


class StepTimer:
    """Mean seconds per step, over the window between two log lines and over the run.

    Call in each step: `start_step()`, `got_data()`, `mark(part)` at the end of each part ('forward' or 'backward'),
    `step_done()`. `window()` returns the means since the previous window. `pause()` and `resume()` exclude validation
    and saving. The timer waits for the device at windows and pauses and after the skipped steps, never within a step.
    """

    def __init__(self, device: torch.device, total_steps: int) -> None:
        self.device = device
        self.skip = min(SKIPPED_STEPS, total_steps // 2)
        self.steps = 0  # done in this process
        self._active = 0.0  # seconds, without pauses
        self._run_from, self._run_to, self._run_steps = 0.0, 0.0, 0
        self._since = time.perf_counter()
        self._open_window()

    def _open_window(self):
        self._window_from, self._window_steps = self._active, 0
        self._data_seconds = 0.0
        self._events = []  # (part that ends here, or None where one begins; event)

    def start_step(self) -> None:
        """The step begins: it asks for a batch."""
        self._began = time.perf_counter()

    def got_data(self) -> None:
        """The batch has arrived; forward and backward follow."""
        self._data_seconds += time.perf_counter() - self._began
        self.mark(None)

    def mark(self, part: str | None) -> None:
        """Counts the work since the last mark as `part`, or as none if it is None."""
        event = HostClock() if self.device.type == "cpu" else utils.device.timing_event(self.device)
        event.record()
        self._events.append((part, event))

    def step_done(self) -> None:
        """The step has ended."""
        self._window_steps += 1
        self.steps += 1
        if self.steps == self.skip:
            self.pause()
            self._run_from = self._active
            self.resume()

    def pause(self) -> None:
        """Waits for the device and stops the clock."""
        utils.device.synchronize(self.device)
        self._active += time.perf_counter() - self._since

    def resume(self) -> None:
        """Starts the clock again."""
        self._since = time.perf_counter()

    def has_window(self) -> bool:
        """Returns whether a step has ended since the previous window."""
        return self._window_steps > 0

    def window(self) -> dict[str, float]:
        """Returns {'total', 'data', 'forward', 'backward'}: mean seconds per step since the previous window."""
        self.pause()
        self.resume()
        steps = self._window_steps
        means = {"total": (self._active - self._window_from) / steps, "data": self._data_seconds / steps,
                 "forward": 0.0, "backward": 0.0}
        for (_, start), (part, end) in zip(self._events, self._events[1:], strict=False):
            if part:
                means[part] += start.elapsed_time(end) / 1e3 / steps
        if self.steps > self.skip:
            self._run_to, self._run_steps = self._active, self.steps - self.skip
        self._open_window()
        return means

    def mean(self) -> tuple[float | None, int]:
        """Returns (seconds per step, number of steps) over all windows, without skipped steps and pauses.

        (None, 0) before the first window with a step that counts.
        """
        if not self._run_steps:
            return None, 0
        return (self._run_to - self._run_from) / self._run_steps, self._run_steps
