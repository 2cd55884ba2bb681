# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""From trained weights to files that other runtimes restore with: export, calibration, int8, evaluation."""
