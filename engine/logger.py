"""The log of a run: the ModelZoo's lines, metrics.jsonl and tensorboard.

Scripts read the ModelZoo's lines with awk: the step time is field 8 of lines with 'IterTotal:', the loss is field 4 of
lines with 'Loss_Pix:'. No other line may contain these words.
"""
import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter

from utils import distributed, strict_json


def clock(seconds: float) -> str:
    """Returns H:MM:SS. Hours run past 24 ('31:05:09'): "1 day, " would shift awk's columns."""
    seconds = int(round(seconds))
    return f"{seconds // 3600}:{seconds % 3600 // 60:02d}:{seconds % 60:02d}"


def time_line(elapsed: float, left: float, means: dict[str, float]) -> str:
    """Returns '<date> <time> Elapse: H:MM:SS TimeLeft: H:MM:SS IterTotal: 0.250000s DataTime|Forward|Backward: ...'.

    elapsed, left: seconds. means: seconds per step, those of StepTimer.window.
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
    """Prints messages and writes them into the run's folder: train.log, metrics.jsonl, tensorboard/.

    A run resumed at `step` drops the records of later steps, which the stopped run wrote after its last checkpoint.
    Only rank 0 writes files. Other ranks print their warnings, and with `every_rank` everything.
    """

    def __init__(self, folder: str | os.PathLike, step: int = 0, every_rank: bool = False) -> None:
        self.folder = Path(folder)
        self._keeps = distributed.is_main()
        self._speaks = self._keeps or every_rank
        if not self._keeps:
            return
        self._log = open(self.folder / "train.log", "a" if step else "w", buffering=1,  # noqa: SIM115 (see close)
                         encoding="utf-8", errors="backslashreplace")  # file names may not be UTF-8
        kept = [r for r in read_metrics(self.folder) if r["step"] <= step] if step else []
        self._metrics = open(self.folder / "metrics.jsonl", "w", buffering=1, encoding="utf-8")  # noqa: SIM115
        self._metrics.writelines(json.dumps(record) + "\n" for record in kept)
        self.board = SummaryWriter(str(self.folder / "tensorboard"), purge_step=step + 1)

    def say(self, text: str) -> None:
        """Prints a message and writes it into train.log."""
        if self._speaks:
            print(text, flush=True)
        if self._keeps:
            self._log.write(text + "\n")

    def warn(self, text: str) -> None:
        """Prints a message that concerns this rank alone, whether or not it prints others."""
        if self._speaks:
            self.say(text)
        else:
            print(f"[rank {distributed.rank()}] {text}", flush=True)

    def record(self, kind: str, step: int, **values: Any) -> None:
        """Writes one line of metrics.jsonl, and the numbers among `values` as tensorboard scalars."""
        if not self._keeps:
            return
        self._metrics.write(strict_json.dumps({"kind": kind, "step": step, **values}) + "\n")
        for name, value in values.items():
            if isinstance(value, (int, float)):
                self.board.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        """Closes the files."""
        if not self._keeps:
            return
        for part in (self.board, self._log, self._metrics):
            with contextlib.suppress(OSError):  # on a full disk: the error that ended the run is the one to show
                part.close()


def read_metrics(folder: str | os.PathLike) -> list[dict]:
    """Returns the records of metrics.jsonl, [] if there is no such file. A line that was cut off is skipped."""
    path = Path(folder) / "metrics.jsonl"
    records = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records
