"""The losses of a run on their way from the device to the log."""
import torch

from utils import distributed
from utils.errors import UserError


class PendingLosses:
    """Losses since the last log line. They stay on the device until `read`, which brings them over in one transfer."""

    def __init__(self, paths, last):
        self.paths = paths  # of the training set: a loss that is not finite names its batch
        self.last = last  # {name: mean over the ranks} of the newest step that was read; updated in place
        self._steps = []

    def add(self, step, losses, indices):
        """losses: {name: 0-d tensor} of one step on the images with these indices."""
        self._steps.append((step, losses, indices))

    def read(self):
        """Take in what was added, on all ranks at the same step; UserError at a loss that is not finite.

        Lazy phases leave steps without some of the losses; `last` keeps their newest values.
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
        # The first step; of its ranks this one first.
        rank, found = min(bad, key=lambda b: (known[b[1]][0], b[0] != distributed.rank(), b[1]))
        place, name = known[found]
        step, _, indices = self._steps[place]
        if rank == distributed.rank():
            what = "The batch was: " + ", ".join(self.paths[i] for i in indices)
        else:
            what = f"It was rank {rank}'s, which names the batch"
        raise UserError(f"Loss_{name} is {float(table[rank, found])} at step {step}. {what}. "
                        f"Checkpoints up to here are untouched.", status=1)
