# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""--profile_steps: a trace of some steps, written into the run's folder for tensorboard or MindStudio Insight."""
import contextlib
from pathlib import Path

import utils.device
from utils import distributed
from utils.errors import UserError

FOLDER = "profile"  # in the run's folder
LONGEST = 100  # steps; a trace takes several MB per step


class Profiler:
    """Records the steps of --profile_steps (None: none), counted from 1. Each rank writes its own trace."""

    def __init__(self, wanted: str | None, device, folder: Path) -> None:
        self.wanted = tuple(map(int, wanted.split(":"))) if wanted else None
        self.device, self.folder = device, folder / FOLDER
        self._running = contextlib.ExitStack()

    def check(self, done: int, total: int) -> None:
        """Raises UserError unless the steps lie between the `done` ones and the `total`."""
        if self.wanted is None:
            return
        first, last = self.wanted
        if not done < first <= last <= total or last - first >= LONGEST:
            raise UserError(f"--profile_steps {first}:{last}: FROM:TO are steps of this call, {done + 1} to {total}, "
                            f"FROM not after TO, at most {LONGEST} steps.")

    def before(self, step: int) -> None:
        """`step` begins."""
        if self.wanted and step == self.wanted[0]:
            self._running.enter_context(utils.device.profiler(self.device, self.folder, f"rank{distributed.rank()}"))

    def after(self, step: int) -> bool:
        """`step` has ended. Returns whether the trace was written now."""
        if self.wanted is None or step != self.wanted[1]:
            return False
        utils.device.synchronize(self.device)
        self.close()
        return True

    def close(self) -> None:
        """Writes what was recorded, also of a run that ends early."""
        self._running.close()
