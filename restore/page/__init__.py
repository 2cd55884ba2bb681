# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The page in the browser that restores photos, and the same for programs: `python -m restore.page`."""
