# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Command-line options; presets/ holds presets (YAML); the command line overrides them."""
import utils  # noqa: F401 (sets environment variables that torch reads during import)
