"""The losses of a run on their way from the device to the log."""
import torch

from utils import distributed
from utils.errors import UserError


class PendingLosses:
    """Losses since the last log line. They stay on the device until `read`, which brings them over in one transfer."""

    def __init__(self, paths, last):
        self.paths = paths  # of the training set: a loss that is not finite names its batch
        self.last = last  # {name: mean over the ranks} of the newest step that was read
        self._steps = []

    def add(self, step, losses, indices):
        """losses: {name: 0-d tensor} of one step on the images with these indices."""
        self._steps.append((step, losses, indices))

    def read(self):
        """Take in what was added, on all ranks at the same step; UserError at a loss that is not finite."""
        if not self._steps:
            return
        names = list(self._steps[0][1])
        mine = torch.stack([losses[n] for _, losses, _ in self._steps for n in names]).view(-1, len(names))
        tables = torch.tensor(distributed.gather(mine.tolist()), dtype=torch.float64)  # [ranks, steps, names]
        self._refuse_nonfinite(names, tables)
        self.last = dict(zip(names, tables[:, -1].mean(0).tolist(), strict=True))
        self._steps = []

    def _refuse_nonfinite(self, names, tables):
        bad = tables.isfinite().logical_not().nonzero().tolist()
        if not bad:
            return
        rank, place, name = min(bad, key=lambda b: (b[1], b[0] != distributed.rank()))  # the first step; mine first
        step, _, indices = self._steps[place]
        if rank == distributed.rank():
            what = "The batch was: " + ", ".join(self.paths[i] for i in indices)
        else:
            what = f"It was rank {rank}'s, which names the batch"
        raise UserError(f"Loss_{names[name]} is {float(tables[rank, place, name])} at step {step}. {what}. "
                        f"Checkpoints up to here are untouched.", status=1)
