# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Hostile input: mutations of bytes, values and text (mutations.py) and what is done with them (kinds.py)."""
