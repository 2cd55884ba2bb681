# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""From trained weights to files that other programs run."""
import utils  # noqa: F401 (sets what torch reads while it loads)
