# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Silences packages that report on standard error what is intended here."""
import contextlib
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drops warnings and log records up to WARNING during the block."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
