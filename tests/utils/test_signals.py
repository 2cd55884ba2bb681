# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Signals that come where Python drops exceptions, or runs no handler."""
import os
import signal
import subprocess
import sys

import pytest

from tests.helpers.paths import ROOT
from tests.helpers.processes import HUNG
from utils import signals


class SignalledWhenDeleted:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_whose_exception_python_dropped_ends_the_next_wait():
    with signals.handling(signals.raise_stopped):
        SignalledWhenDeleted()  # what its __del__ raises goes to sys.unraisablehook
        with pytest.raises(signals.Stopped, match="SIGTERM"), signals.bounded_wait(10):
            pass
    with signals.bounded_wait(10):  # of the next program in this process
        pass


def test_a_signal_in_a_deferred_block_waits_for_its_end():
    done = []
    with signals.handling(signals.raise_stopped), pytest.raises(signals.Stopped), signals.deferred():
        signal.raise_signal(signal.SIGHUP)
        done.append("whole")
    assert done == ["whole"]


WAITING_IN_C = """
import ctypes, os, signal, sys
from utils.signals import ending_in_time, handling
mutex, libc = ctypes.create_string_buffer(64), ctypes.CDLL(None)
with handling(lambda number, frame: None), ending_in_time(lambda number: os._exit(100 + number)):
    libc.pthread_mutex_lock(mutex)
    print("waits", flush=True)
    libc.pthread_mutex_lock(mutex)  # for ever, even if the signal comes just before it
"""


def test_a_signal_ends_a_wait_outside_of_python():
    with subprocess.Popen([sys.executable, "-c", WAITING_IN_C], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "waits\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=HUNG) == 100 + signal.SIGTERM


def test_a_signal_that_ends_the_block_in_time_leaves_the_rest_to_its_handler():
    left = []
    with pytest.raises(signals.Stopped), signals.handling(signals.raise_stopped), signals.ending_in_time(left.append):
        os.kill(os.getpid(), signal.SIGTERM)
    assert left == [] and signal.set_wakeup_fd(-1) == -1
