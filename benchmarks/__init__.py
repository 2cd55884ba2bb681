# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Benchmarks; RESULTS.md lists their results. Run them as modules: python -m benchmarks.train_step"""
import utils  # noqa: F401 (sets environment variables that torch reads at import)
