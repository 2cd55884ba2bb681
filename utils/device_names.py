# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Kinds of devices, without torch: options name them. utils/device.py is the only file that tells them apart."""

DEVICES = ("npu", "cuda", "cpu")
