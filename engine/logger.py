"""Output of a run: log lines in ModelZoo format, metrics.jsonl and tensorboard.

ModelZoo scripts parse the log with awk: the step time is field 8 of lines with 'IterTotal:', the loss is field 4 of
lines with 'Loss_Pix:'. No other line may contain these words.
"""
import contextlib
import json
import time
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter

from utils import distributed, strict_json


def clock(seconds: float) -> str:
    """Returns H:MM:SS; hours exceed 24 ('31:05:09'), because a word for days would shift awk's fields."""
    seconds = int(round(seconds))
    return f"{seconds // 3600}:{seconds % 3600 // 60:02d}:{seconds % 60:02d}"


def time_line(elapsed: float, left: float, means: dict[str, float]) -> str:
    """Returns '<date> <time> Elapse: H:MM:SS TimeLeft: H:MM:SS IterTotal: 0.250000s DataTime|Forward|Backward: ...'.

    elapsed, left: seconds. means: result of StepTimer.window, seconds per step.
    """
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    parts = "|".join(f"{means[part]:.6f}s" for part in ("data", "forward", "backward"))
    return (f"{now}\tElapse: {clock(elapsed)}\tTimeLeft: {clock(left)}\t\tIterTotal: {means['total']:.6f}s"
            f"\tDataTime|Forward|Backward: {parts}")


def loss_line(epoch: int, step_of_epoch: int, steps_of_epoch: int, step: int, total: int,
              losses: dict[str, float]) -> str:
    """Returns 'Iter: [epoch|step_of_epoch/steps_of_epoch]step/total Loss_Pix: 0.123456 ...'."""
    values = "\t".join(f"Loss_{name}: {value:.6f}" for name, value in losses.items())
    return f"Iter: [{epoch}|{step_of_epoch}/{steps_of_epoch}]{step}/{total}\t\t{values}"


class Logger:
    """Prints messages and writes train.log, metrics.jsonl and tensorboard/ in the run's folder.

    step: a resumed run's last step; records after it, written by the stopped run, are dropped. Only rank 0 writes
    files. The other ranks print warnings only, or all messages with every_rank.
    """

    def __init__(self, folder: str | Path, step: int = 0, every_rank: bool = False) -> None:
        self.folder = Path(folder)
        self._keeps = distributed.is_main()
        self._speaks = self._keeps or every_rank
        if not self._keeps:
            return
        self._log = open(self.folder / "train.log", "a" if step else "w", buffering=1,  # noqa: SIM115 (see close)
                         errors="backslashreplace")  # file names may not be valid UTF-8
        kept = [r for r in read_metrics(self.folder) if r["step"] <= step] if step else []
        self._metrics = open(self.folder / "metrics.jsonl", "w", buffering=1)  # noqa: SIM115
        self._metrics.writelines(json.dumps(record) + "\n" for record in kept)
        self.board = SummaryWriter(str(self.folder / "tensorboard"), purge_step=step + 1)

    def say(self, text: str) -> None:
        """Prints a line and writes it to train.log."""
        if self._speaks:
            print(text, flush=True)
        if self._keeps:
            self._log.write(text + "\n")

    def warn(self, text: str) -> None:
        """Prints a message that concerns only this rank, whichever rank it is."""
        if self._speaks:
            self.say(text)
        else:
            print(f"[rank {distributed.rank()}] {text}", flush=True)

    def record(self, kind: str, step: int, **values: Any) -> None:
        """Writes one line of metrics.jsonl, and the numbers in `values` as tensorboard scalars."""
        if not self._keeps:
            return
        self._metrics.write(strict_json.dumps({"kind": kind, "step": step, **values}) + "\n")
        for name, value in values.items():
            if isinstance(value, (int, float)):
                self.board.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        if not self._keeps:
            return
        for part in (self.board, self._log, self._metrics):
            with contextlib.suppress(OSError):  # on a full disk: must not hide the error that ended the run
                part.close()


def read_metrics(folder: str | Path) -> list[dict[str, Any]]:
    """Returns the records of metrics.jsonl, [] if there is no file; skips lines that are not valid JSON."""
    path = Path(folder) / "metrics.jsonl"
    records = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records
