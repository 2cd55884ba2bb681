# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""OpenCV without its messages on stderr."""
import contextlib

import cv2


@contextlib.contextmanager
def quiet():
    """OpenCV logs nothing inside the `with` block: callers report what fails in their own words."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
