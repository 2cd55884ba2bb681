# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""One way to open an ONNX model in ONNX Runtime, for calibration, sensitivity and evaluation."""
from __future__ import annotations

import os
from typing import Any

from utils.errors import UserError, first_line, shown
from utils.onnx_file import import_package

QUIET = 3  # errors only: ONNX Runtime warns of each initializer that it removes


def open_session(model: str | os.PathLike | Any, threads: int = 1, emulated: bool = False):
    """Returns the onnxruntime.InferenceSession of a file or of an onnx.ModelProto, on the CPU.

    emulated: QuantizeLinear and DequantizeLinear are computed as they stand, in float32, instead of by the processor's
    int8 kernels. This is exact int8 arithmetic on every processor: it cannot saturate.
    Raises UserError for a file that ONNX Runtime cannot load.
    """
    onnxruntime = import_package("onnxruntime", "int8")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = QUIET
    if emulated:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    source = os.fspath(model) if isinstance(model, (str, os.PathLike)) else model.SerializeToString()
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common base but Exception
        name = shown(source, 300) if isinstance(source, str) else "the model"
        raise UserError(f"{name}: ONNX Runtime cannot load it: {shown(first_line(error), 200)}") from None
