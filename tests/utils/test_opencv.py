# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""OpenCV is silent as long as any thread asks for it, and speaks afterwards."""
import contextlib

import cv2

from utils.opencv import quiet


def test_threads_that_overlap():
    silent, before = cv2.utils.logging.LOG_LEVEL_SILENT, cv2.utils.logging.getLogLevel()
    with contextlib.ExitStack() as first, contextlib.ExitStack() as second:
        first.enter_context(quiet())
        second.enter_context(quiet())
        first.close()
        assert cv2.utils.logging.getLogLevel() == silent
    assert cv2.utils.logging.getLogLevel() == before != silent
