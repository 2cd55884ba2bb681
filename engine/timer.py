"""Step timing with the device synchronised; the first steps are excluded."""
import time

import torch

import utils.device

SKIPPED_STEPS = 10  # at the start of a run: they include warm-up (kernel selection, memory allocation, worker start)


class HostClock:
    """A host time stamp with the interface of torch.Event, for devices that compute synchronously (CPU)."""

    def record(self) -> None:
        self.time = time.perf_counter()

    def elapsed_time(self, end: "HostClock") -> float:
        """Returns the milliseconds from this time stamp to `end`."""
        return (end.time - self.time) * 1e3


class StepTimer:
    """Mean seconds per step, over each window between two log lines and over the whole run.

    Per step, call `start_step()`, `got_data()`, `mark(part)` at the end of each part ('forward' or 'backward'), and
    `step_done()`. `window()` returns the means since the previous window. `pause()` and `resume()` exclude validation
    and saving. The device is synchronised at windows and pauses and once after the skipped steps, never within a step.
    """

    def __init__(self, device: torch.device, total_steps: int) -> None:
        self.device = device
        self.skip = min(SKIPPED_STEPS, total_steps // 2)
        self.steps = 0  # finished in this process
        self._active = 0.0  # seconds, without pauses
        self._run_from, self._run_to, self._run_steps = 0.0, 0.0, 0
        self._since = time.perf_counter()
        self._open_window()

    def _open_window(self):
        self._window_from, self._window_steps = self._active, 0
        self._data_seconds = 0.0
        self._events = []  # (name of the part that ends here, or None at the start of a step; event)

    def start_step(self) -> None:
        self._began = time.perf_counter()

    def got_data(self) -> None:
        """Ends the data part of the step; the forward part starts."""
        self._data_seconds += time.perf_counter() - self._began
        self.mark(None)

    def mark(self, part: str | None) -> None:
        """Assigns the device work since the last mark to `part`; None: to no part."""
        event = HostClock() if self.device.type == "cpu" else utils.device.timing_event(self.device)
        event.record()
        self._events.append((part, event))

    def step_done(self) -> None:
        self._window_steps += 1
        self.steps += 1
        if self.steps == self.skip:
            self.pause()
            self._run_from = self._active
            self.resume()

    def pause(self) -> None:
        """Synchronises the device and stops the clock."""
        utils.device.synchronize(self.device)
        self._active += time.perf_counter() - self._since

    def resume(self) -> None:
        self._since = time.perf_counter()

    def window(self) -> dict[str, float]:
        """Returns {'total', 'data', 'forward', 'backward'}: mean seconds per step since the last window."""
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
        """Returns (seconds per step, steps measured) over all windows, without skipped steps and pauses.

        Returns (None, 0) before the first window that contains measured steps.
        """
        if not self._run_steps:
            return None, 0
        return (self._run_to - self._run_from) / self._run_steps, self._run_steps
