# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Training and evaluation: loop, checkpoints, run folders, logs."""
import utils  # noqa: F401 (sets what torch reads while it loads)
