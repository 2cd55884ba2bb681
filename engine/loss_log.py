# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Collects losses on the device and transfers them for logging."""
from collections.abc import Sequence

import torch

from utils import distributed
from utils.errors import UserError
from utils.names import printable


class PendingLosses:
    """Losses since the last log line, kept on the device until `read` transfers all of them at once.

    paths: files of the training set, used to name the batch of a non-finite loss.
    last: {name: latest value, averaged over ranks}, updated in place.
    """

    def __init__(self, paths: Sequence[str], last: dict[str, float]) -> None:
        self.paths, self.last = paths, last
        self._steps = []

    def add(self, step: int, losses: dict[str, torch.Tensor], indices: list[int]) -> None:
        """Stores the losses {name: 0-d tensor} of one step; indices: dataset indices of the step's images."""
        self._steps.append((step, losses, indices))

    def read(self) -> None:
        """Updates `last` from the stored losses. All ranks must call it at the same step.

        Lazy phases do not compute every loss in every step; `last` keeps the latest value of each.
        Raises UserError if a loss is not finite.
        """
        if not self._steps:
            return
        known = [(place, name) for place, (_, losses, _) in enumerate(self._steps) for name in losses]
        mine = torch.stack([self._steps[place][1][name] for place, name in known])
        table = torch.tensor(distributed.gather(mine.tolist()), dtype=torch.float64)  # [ranks, known]
        self._refuse_nonfinite(known, table)
        self.last.update({name: mean for (_, name), mean in zip(known, table.mean(0).tolist(), strict=True)})
        self._steps = []

    def _refuse_nonfinite(self, known, table):
        bad = table.isfinite().logical_not().nonzero().tolist()
        if not bad:
            return
        # Reports the earliest step; within it, this rank's own loss first.
        rank, found = min(bad, key=lambda b: (known[b[1]][0], b[0] != distributed.rank(), b[1]))
        place, name = known[found]
        step, _, indices = self._steps[place]
        if rank == distributed.rank():
            what = "The batch was: " + ", ".join(printable(self.paths[i]) for i in indices)
        else:
            what = f"It occurred on rank {rank}, whose error names the batch"
        raise UserError(f"Loss_{name} is {float(table[rank, found])} at step {step}. {what}. "
                        f"Earlier checkpoints are unchanged.", status=1)
