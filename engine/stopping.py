# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Why a training ends before its last step: time, a signal or a failure. All ranks end after the same step."""
from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

from utils import distributed
from utils.errors import LOST_CONTACT, UserError
from utils.signals import Stopped, StopSignals, exit_status

# What the ranks agree on: the largest of these numbers.
GO_ON, TIME_IS_UP, SIGNAL, FAILURE = 0, 1, 100, 1000  # SIGNAL: plus the signal's number


class Stopping:
    """Collects this rank's reasons to stop; `agree` shares them. max_minutes: 0 for no limit.

    It is a context manager: signals are noted within, see utils/signals.py.
    """

    def __init__(self, max_minutes: float) -> None:
        self.signals = StopSignals()
        self.failure: Exception | None = None
        self.agreed = GO_ON
        self._seconds = 60 * max_minutes or float("inf")
        self._ends_at = float("inf")

    def __enter__(self) -> Stopping:
        self._ends_at = time.monotonic() + self._seconds
        self.signals.__enter__()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: Any) -> None:
        self.signals.__exit__(kind, error, trace)
        if self.signals.received and distributed.lost_contact(error):  # another rank heard the signal a moment earlier
            raise Stopped(self.signals.received) from None

    def attempt(self, job: Callable[[], Any], failures: type[Exception] = Exception) -> Any:
        """Returns job(), or None if a signal interrupted its wait or one of `failures` occurred, which is noted.

        job: no other rank may wait for it. All ranks then call `agree`.
        """
        try:
            return job()
        except Stopped:
            return None
        except failures as error:
            self.failure = self.failure or error
            return None

    def agree(self) -> bool:
        """Returns whether to stop. All ranks call it at the same place; `agreed` keeps the most urgent reason."""
        mine = TIME_IS_UP if time.monotonic() >= self._ends_at else GO_ON
        if self.signals.received:
            mine = SIGNAL + self.signals.received
        if self.failure:
            mine = FAILURE
        self.agreed = max(self.agreed, distributed.largest(int(mine)))
        return self.agreed > GO_ON

    @property
    def urgent(self) -> bool:
        """Whether a signal or a failure was agreed on: the remaining time is for saving."""
        return self.agreed >= SIGNAL

    @property
    def signal(self) -> signal.Signals | None:
        """The signal that was agreed on, or None."""
        return signal.Signals(self.agreed - SIGNAL) if SIGNAL <= self.agreed < FAILURE else None

    @property
    def exit_status(self) -> int:
        """The exit status after `signal`."""
        return exit_status(self.agreed - SIGNAL)

    def raise_failure(self, note: str) -> None:
        """Raises the failure that was agreed on, if any. note: the last sentences of its message."""
        if self.agreed < FAILURE:
            return
        if self.failure is None:
            raise UserError(f"rank {distributed.rank()} ended because another rank failed; that rank's error says why. "
                            f"{note}", status=LOST_CONTACT)
        if isinstance(self.failure, UserError):
            raise UserError(f"{self.failure} {note}", status=self.failure.status or 1) from None
        raise self.failure
