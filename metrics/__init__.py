# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""One metric per file, each a named protocol."""
import utils  # noqa: F401 (sets what torch reads while it loads)
