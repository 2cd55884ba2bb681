# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The project's own drawn faces."""
import utils  # noqa: F401 (sets what torch reads while it loads)
