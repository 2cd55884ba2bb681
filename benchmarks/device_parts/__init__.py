# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""What benchmarks/on_device.py measures: {name: function of (device, toy) that returns the table's rows}."""
from benchmarks.device_parts import runs, speed

PARTS = {"step": speed.step, "sparnethd": speed.sparnethd, "restoring": speed.restoring, "gpen": speed.gpen,
         "graphs": speed.graphs, "ceilings": speed.ceilings, "precision": runs.precision, "ranks": runs.ranks,
         "resume": runs.resume}
