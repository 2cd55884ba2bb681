"""Schedules, the average of weights, the timer and the clock: values worked out by hand."""
import errno
import os
import re
import time

import pytest
import torch
from torch import nn

from utils.ema import Ema
from utils.logger import clock, loss_line, time_line
from utils.schedule import lr_factor
from utils.timer import StepTimer


def test_schedules_by_hand():
    assert [lr_factor(s, 10, "constant") for s in (0, 9)] == [1, 1]
    steps = [lr_factor(s, 100, "step", decay_at=[0.5, 0.9], gamma=0.1) for s in (0, 49, 50, 89, 90, 99)]
    assert steps == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    assert [lr_factor(s, 5, "linear") for s in range(5)] == pytest.approx([1, 0.75, 0.5, 0.25, 0])
    assert [lr_factor(s, 5, "linear", final=0.2) for s in (0, 2, 4)] == pytest.approx([1, 0.6, 0.2])
    assert [lr_factor(s, 5, "cosine") for s in (0, 1, 2, 4)] == pytest.approx([1, 0.8535534, 0.5, 0])
    assert [lr_factor(s, 9, "cosine", warmup=4) for s in (0, 1, 3, 4, 8)] == pytest.approx([0.2, 0.4, 0.8, 1, 0])
    with pytest.raises(ValueError, match="policy"):
        lr_factor(0, 1, "plateau")


def test_schedules_are_really_stepped(train):
    from utils.logger import read_metrics
    for policy, expected, *words in (("cosine", [0.8535534, 0.1464466, 0]), ("linear", [0.75, 0.25, 0]),
                                     ("step", [1, 0.5, 0.25], "--lr_decay_at", 0.5, 0.8), ("constant", [1, 1, 1])):
        _, folder = train("--train_steps", 5, "--lr_policy", policy, "--lr", 1, *words, name=policy)
        seen = {r["step"]: r["lr"] for r in read_metrics(folder) if r["kind"] == "train"}
        assert [seen[s] for s in (2, 4, 5)] == pytest.approx(expected, abs=1e-6)


def test_average_by_hand():
    net = nn.BatchNorm2d(2)
    average = Ema(net, 0.75)
    for step, value in ((100, 2.0), (101, 4.0)):
        with torch.no_grad():
            net.weight.fill_(value)
            net.running_mean.fill_(value)
        average.update(net, step)
    assert average.net.weight.tolist() == [0.75 * (0.75 * 1 + 0.25 * 2) + 0.25 * 4] * 2
    assert average.net.running_mean.tolist() == [4.0] * 2 and not average.net.weight.requires_grad
    assert net.weight.tolist() == [4.0] * 2
    first = Ema(net, 0.999)  # in the first steps it follows faster: 4, then 0.1 x 4 + 0.9 x 8, then 2/11 of that
    with torch.no_grad():
        net.weight.fill_(8.0)
    for step, expected in ((0, 7.6), (1, 2 / 11 * 7.6 + 9 / 11 * 8)):
        first.update(net, step)
        assert first.net.weight.tolist() == pytest.approx([expected] * 2)


def test_clock_runs_past_a_day():
    assert [clock(s) for s in (0, 59.6, 3661, 111909)] == ["0:00:00", "0:01:00", "1:01:01", "31:05:09"]


def test_log_lines_to_the_letter():
    means = {"total": 0.25, "data": 0.001, "forward": 0.1, "backward": 0.149}
    line = time_line(111909, 5, means)
    assert line.split("\t", 1)[1] == ("Elapse: 31:05:09\tTimeLeft: 0:00:05\t\tIterTotal: 0.250000s"
                                      "\tDataTime|Forward|Backward: 0.001000s|0.100000s|0.149000s")
    assert line.split()[7] == "0.250000s"
    line = loss_line(2, 3, 10, 13, 40, {"Pix": 0.1234567, "Pcp": 1.0})
    assert line == "Iter: [2|3/10]13/40\t\tLoss_Pix: 0.123457\tLoss_Pcp: 1.000000"
    assert line.split()[3] == "0.123457"


def test_timer_leaves_out_pauses_and_first_steps(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def step(data, forward, backward):
        timer.start_step()
        now[0] += data
        timer.got_data()
        now[0] += forward
        timer.mark("forward")
        now[0] += backward
        timer.mark("backward")
        timer.step_done()
    timer = StepTimer(torch.device("cpu"), total_steps=8)  # the first 4 are left out
    for _ in range(3):
        step(9, 9, 9)
    assert timer.window()["total"] == 27 and timer.mean() == (None, 0)
    step(9, 9, 9)
    for _ in range(2):
        step(1, 2, 3)
    timer.pause()
    now[0] += 1000  # a validation
    timer.resume()
    step(1, 2, 3)
    means = timer.window()
    assert means == pytest.approx({"total": (27 + 3 * 6) / 4, "data": (9 + 3) / 4, "forward": (9 + 6) / 4,
                                   "backward": (9 + 9) / 4})
    assert timer.mean() == (6, 3)
    step(2, 2, 4)
    timer.window()
    assert timer.mean() == (pytest.approx((3 * 6 + 8) / 4), 4)


def test_curves_of_a_run_that_went_on_with_another_loss(tmp_path):
    from utils.report import write_curves
    records = [{"kind": "train", "step": 1, "Loss_Pix": 1.0}, {"kind": "train", "step": 2, "Loss_G": 2.0}]
    write_curves(records, "bicubic", tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size


def test_a_disk_that_takes_nothing_any_more_is_one_line(capsys):
    from utils.errors import run_main

    def fail(number):
        raise OSError(number, os.strerror(number), "train.log")
    with pytest.raises(SystemExit) as end:
        run_main(lambda: fail(errno.ENOSPC))
    assert end.value.code == 1
    assert re.fullmatch("error: could not write train.log: No space left on device. .*\n", capsys.readouterr().err)
    with pytest.raises(FileNotFoundError):  # a fault of ours must show
        run_main(lambda: fail(errno.ENOENT))
