# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The log of a run: the ModelZoo's lines, metrics.jsonl and tensorboard.

Scripts read the ModelZoo's lines with awk: the step time is field 8 of lines with 'IterTotal:', the loss is field 4 of
lines with 'Loss_Pix:'. No other line may contain these words.
"""
import contextlib
import itertools
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter

from restore.description import OPTIONS_FILE
from utils import console, distributed, strict_json
from utils.errors import UserError
from utils.files import write_file
from utils.names import printable

FILES = ("train.log", "metrics.jsonl", "samples.png", "curves.png", "best_net_G.pth", "latest_net_G.pth", OPTIONS_FILE)


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
    What of these files cannot be used is moved aside; none of them keeps a good checkpoint from being continued.
    Only rank 0 writes files. Other ranks print their warnings, and with `every_rank` everything. Once stdout fails,
    messages go into train.log only. Raises UserError if the folder cannot be written.
    """

    def __init__(self, folder: str | os.PathLike, step: int = 0, every_rank: bool = False) -> None:
        self.folder = Path(folder)
        self._keeps = distributed.is_main()
        self._speaks = self._keeps or every_rank
        if not self._keeps:
            return
        try:
            moved = move_aside_unusable(self.folder)
            self._log = open(self.folder / "train.log", "a" if step else "w", buffering=1,  # noqa: SIM115 (see close)
                             encoding="utf-8", errors="backslashreplace")  # file names may not be UTF-8
            kept = [r for r in read_metrics(self.folder) if r["step"] <= step] if step else []
            write_file(self.folder / "metrics.jsonl", "".join(strict_json.dumps(record) + "\n" for record in kept))
            self._metrics = open(self.folder / "metrics.jsonl", "a", buffering=1, encoding="utf-8")  # noqa: SIM115
            self.board = SummaryWriter(str(self.folder / "tensorboard"), purge_step=step + 1)
        except OSError as error:
            raise UserError(f"--checkpoints_dir: cannot write {error.filename or self.folder}: {error.strerror}.",
                            status=1) from None
        for line in moved:
            self.warn(line)

    def say(self, text: str) -> None:
        """Prints a message of one line and writes it into train.log."""
        text = printable(text)
        if self._keeps:
            self._log.write(text + "\n")
        if self._speaks:
            self._print(text)

    def _print(self, text):
        try:
            print(text, flush=True)
        except OSError as error:
            console.drop_stdout()
            if self._keeps:
                self._log.write(f"warning: the console (stdout) takes no more lines ({error.strerror}): the training "
                                f"goes on, with its messages in this file only\n")

    def warn(self, text: str) -> None:
        """Prints a message that concerns this rank alone, whether or not it prints others."""
        if self._speaks:
            self.say(text)
        else:
            self._print(printable(f"[rank {distributed.rank()}] {text}"))

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
    """Returns the records of metrics.jsonl, [] if there is no such file. What is not a record is skipped."""
    return _read_records(Path(folder) / "metrics.jsonl")[0]


def _read_records(path):
    """Returns (records, number of other lines). A last line without its end is no fault: the run was killed then."""
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    lines = text.split("\n")[:-1]
    records = list(filter(None, map(_record, lines)))
    return records, len(lines) - len(records)


def _record(line):
    """Returns the record in a line of metrics.jsonl, or None."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or not isinstance(record.get("step"), int):
        return None
    numbers = ["psnr"] if record.get("kind") == "val" else [name for name in record if name.startswith("Loss_")]
    whole = record.get("kind") == "train" or record.get("kind") == "val" and "protocol" in record and (
        "input_psnr" in record or "bicubic_psnr" in record)
    return record if whole and all(isinstance(record.get(n), (int, float, type(None))) for n in numbers) else None


def move_aside_unusable(folder: Path) -> list[str]:
    """Renames what stands where the run writes a file and is none, and a copy of a damaged metrics.jsonl.

    Returns warnings. Checkpoints are not looked at.
    """
    warnings = []
    for name in FILES:
        path = folder / name
        if os.path.lexists(path) and not path.is_file():
            aside = _free_name(path)
            path.rename(aside)
            warnings.append(f"warning: {path} is not a file; it was moved to {aside.name}.")
    board = folder / "tensorboard"
    if os.path.lexists(board) and not board.is_dir():
        aside = _free_name(board)
        board.rename(aside)
        warnings.append(f"warning: {board} is not a folder; it was moved to {aside.name}.")
    metrics = folder / "metrics.jsonl"
    damaged = _read_records(metrics)[1]
    if damaged:
        aside = _free_name(metrics)
        shutil.copyfile(metrics, aside)
        warnings.append(f"warning: {damaged} lines of {metrics} are damaged and left out; the file as it was is "
                        f"{aside.name}.")
    return warnings


def _free_name(path):
    names = (path.with_name(f"{path.name}.damaged{number or ''}") for number in itertools.count())
    return next(name for name in names if not os.path.lexists(name))
