# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Values that newexport.py's options accept. Imports nothing, so that --help needs neither torch nor onnx."""

FORMATS = ("onnx", "torchscript", "pt2")  # of files; deploy/formats.py
OPSET = 17
OPSETS = (13, 20)  # int8 per channel needs 13; torch's exporter ends at 20
INT8 = "int8"  # made of the float32 ONNX model (deploy/int8_export.py)
PRECISIONS = ("fp32", "fp16", INT8)  # deploy/exporter.py
METHODS = ("minmax", "percentile", "mse", "kl")  # of the calibration; deploy/calibration.py
FEWEST = 8  # faces of a calibration
OM = ".om"  # suffix of the models of Ascend's ATC
SOC = "Ascend310P3"  # processor that the commands in OUT/ascend are for
