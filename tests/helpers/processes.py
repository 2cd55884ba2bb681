"""Processes that tests start: when one counts as hung, and waiting for what one does."""
import time

HUNG = 900  # seconds. No test asks for speed: this only ends one whose process will never do what is waited for.


def wait_until(condition, process):
    """Returns once `condition()` is true; fails if the process ends before, or hangs."""
    deadline = time.monotonic() + HUNG
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
