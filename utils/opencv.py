# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""OpenCV without its messages on stderr."""
import contextlib
import threading
from collections.abc import Iterator

import cv2


class _Silence:
    """OpenCV's level of logging belongs to the process: the first thread inside lowers it, the last one restores it."""

    def __init__(self) -> None:
        self._lock, self._inside, self._level = threading.Lock(), 0, 0

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        """OpenCV logs nothing inside the `with` block: callers report what fails in their own words."""
        with self._lock:
            if not self._inside:
                self._level = cv2.utils.logging.getLogLevel()
                cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside:
                    cv2.utils.logging.setLogLevel(self._level)


quiet = _Silence()
