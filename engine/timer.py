"""How long steps take, measured with the device synchronised, first steps left out."""
import time

import utils.device

SKIPPED_STEPS = 10  # at the start of a run: they pay for warming up (kernels chosen, memory allocated, workers)


class HostClock:
    """A clock reading with torch.Event's shape, for devices whose work is done when a call returns."""

    def record(self):
        self.time = time.perf_counter()

    def elapsed_time(self, end):
        """Milliseconds from this reading to `end`."""
        return (end.time - self.time) * 1e3


class StepTimer:
    """Mean seconds a step, over the windows between two log lines and over the run.

    In a step: `start_step()`, `got_data()`, then `mark(part)` at the end of each part ('forward' or
    'backward'), at last `step_done()`. `window()` waits for the device and gives the means since the window
    before. `pause()` and `resume()` keep validation and saving out of the steps' time. The device is waited for
    at windows and pauses, and once at the end of the steps left out: never within a step.
    """

    def __init__(self, device, total_steps):
        self.device = device
        self.skip = min(SKIPPED_STEPS, total_steps // 2)
        self.steps = 0  # done in this process
        self._active = 0.0  # seconds the clock ran, without pauses
        self._run_from, self._run_to, self._run_steps = 0.0, 0.0, 0
        self._since = time.perf_counter()
        self._open_window()

    def _open_window(self):
        self._window_from, self._window_steps = self._active, 0
        self._data_seconds = 0.0
        self._events = []  # (part that ends here, or None where one begins; event)

    def start_step(self):
        self._began = time.perf_counter()

    def got_data(self):
        """The batch is here; what is queued on the device from now on is forward and backward."""
        self._data_seconds += time.perf_counter() - self._began
        self.mark(None)

    def mark(self, part):
        """The work since the last mark belongs to `part`; None: to no part."""
        event = HostClock() if self.device.type == "cpu" else utils.device.timing_event(self.device)
        event.record()
        self._events.append((part, event))

    def step_done(self):
        self._window_steps += 1
        self.steps += 1
        if self.steps == self.skip:
            self.pause()
            self._run_from = self._active
            self.resume()

    def pause(self):
        """Wait for the device and stop the clock."""
        utils.device.synchronize(self.device)
        self._active += time.perf_counter() - self._since

    def resume(self):
        self._since = time.perf_counter()

    def window(self):
        """{'total', 'data', 'forward', 'backward'}: mean seconds of the steps since the last window."""
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

    def mean(self):
        """(seconds a step, steps measured) over all windows, first steps and pauses left out; (None, 0) at first."""
        if not self._run_steps:
            return None, 0
        return (self._run_to - self._run_from) / self._run_steps, self._run_steps
