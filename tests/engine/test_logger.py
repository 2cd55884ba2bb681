# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The exact text of the log's lines."""
from engine.logger import clock, loss_line, time_line


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
