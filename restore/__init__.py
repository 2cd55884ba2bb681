# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""From weights to a callable on arrays."""
import utils  # noqa: F401 (sets what torch reads while it loads)
