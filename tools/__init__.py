# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Programs that prepare data, train in several calls and export weights. Run each as `python -m tools.NAME`."""
import utils  # noqa: F401 (sets environment variables that torch reads at import)
