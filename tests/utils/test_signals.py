# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Signals that come where Python drops exceptions."""
import signal

import pytest

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
