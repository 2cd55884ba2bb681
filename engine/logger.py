"""What a run says: the ModelZoo's log lines, metrics.jsonl and tensorboard.

Scripts read the ModelZoo's lines with awk: the step time is field 8 of lines with 'IterTotal:', the loss field 4
of lines with 'Loss_Pix:'. No other line may hold those words.
"""
import contextlib
import json
import time
from pathlib import Path

from tensorboardX import SummaryWriter

from utils import distributed, strict_json


def clock(seconds):
    """H:MM:SS, the hours running past 24 ('31:05:09'): a day's word would shift awk's columns."""
    seconds = int(round(seconds))
    return f"{seconds // 3600}:{seconds % 3600 // 60:02d}:{seconds % 60:02d}"


def time_line(elapsed, left, means):
    """'<date> <time> Elapse: H:MM:SS TimeLeft: H:MM:SS IterTotal: 0.250000s DataTime|Forward|Backward: ...'."""
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    parts = "|".join(f"{means[part]:.6f}s" for part in ("data", "forward", "backward"))
    return (f"{now}\tElapse: {clock(elapsed)}\tTimeLeft: {clock(left)}\t\tIterTotal: {means['total']:.6f}s"
            f"\tDataTime|Forward|Backward: {parts}")


def loss_line(epoch, step_of_epoch, steps_of_epoch, step, total, losses):
    """'Iter: [epoch|i/n]cur/total Loss_Pix: 0.123456 ...'."""
    values = "\t".join(f"Loss_{name}: {value:.6f}" for name, value in losses.items())
    return f"Iter: [{epoch}|{step_of_epoch}/{steps_of_epoch}]{step}/{total}\t\t{values}"


class Logger:
    """Prints, and keeps what is said in the run's folder: train.log, metrics.jsonl, tensorboard/.

    A run that goes on after `step` drops the records that a stopped one wrote after its last checkpoint. Of several
    ranks only 0 keeps these things; the others print their warnings, and what they say if `every_rank` is to speak.
    """

    def __init__(self, folder, step=0, every_rank=False):
        self.folder = Path(folder)
        self._keeps = distributed.is_main()
        self._speaks = self._keeps or every_rank
        if not self._keeps:
            return
        self._log = open(self.folder / "train.log", "a" if step else "w", buffering=1,  # noqa: SIM115 (see close)
                         errors="backslashreplace")  # names of files may be no UTF-8
        kept = [r for r in read_metrics(self.folder) if r["step"] <= step] if step else []
        self._metrics = open(self.folder / "metrics.jsonl", "w", buffering=1)  # noqa: SIM115
        self._metrics.writelines(json.dumps(record) + "\n" for record in kept)
        self.board = SummaryWriter(str(self.folder / "tensorboard"), purge_step=step + 1)

    def say(self, text):
        if self._speaks:
            print(text, flush=True)
        if self._keeps:
            self._log.write(text + "\n")

    def warn(self, text):
        """For what happens to one rank alone."""
        if self._speaks:
            self.say(text)
        else:
            print(f"[rank {distributed.rank()}] {text}", flush=True)

    def record(self, kind, step, **values):
        """One line of metrics.jsonl, and the numbers among `values` as tensorboard scalars."""
        if not self._keeps:
            return
        self._metrics.write(strict_json.dumps({"kind": kind, "step": step, **values}) + "\n")
        for name, value in values.items():
            if isinstance(value, (int, float)):
                self.board.add_scalar(f"{kind}/{name}", value, step)

    def close(self):
        if not self._keeps:
            return
        for part in (self.board, self._log, self._metrics):
            with contextlib.suppress(OSError):  # on a full disk; what ended the run is the error to show
                part.close()


def read_metrics(folder):
    """The records of metrics.jsonl as a list of dicts, none where it is not there; a cut-off line is passed over."""
    path = Path(folder) / "metrics.jsonl"
    records = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records
