# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""int8 files: an ONNX model with QuantizeLinear and DequantizeLinear around its convolutions (QDQ).

    model = quantize(onnx.load("net.onnx"), ranges, weight_bits=choose_weight_bits())

Weights are int8, symmetric, with one scale per output channel; activations are uint8 with one scale per tensor. All
other operators stay in float32. ONNX Runtime and OpenVINO run such files; Ascend's ATC does not (deploy/ascend).
"""
from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from deploy.session import open_session
from utils.errors import UserError, nearest
from utils.processor import processor
from utils.quiet import quiet

QUANTIZED = "Conv"  # the operator whose inputs and weights become int8
# Where activations are quantized. ONNX Runtime's int8 kernels need the convolution's output quantized as well; OpenVINO
# fuses what follows a convolution into its kernel and needs the input only, which loses less.
FORMS = ("onnxruntime", "openvino")
VNNI = {"VNNI", "i8mm", "NEON"}  # abilities (utils/processor.py) of which int8 kernels do not saturate


class Sensitivity(NamedTuple):
    """What is lost when one layer alone is quantized: `loss` in dB of PSNR."""
    layer: str
    loss: float


def choose_weight_bits(able: bool | None = None) -> int:
    """Returns 8 for a processor that sums products of int8 without saturation, else 7.

    Without such instructions, AVX2 and AVX-512 add two products uint8 * int8 in 16 bits, which overflow with 8-bit
    weights. able: whether the processor has them; None: this one.
    """
    if able is None:
        able = not VNNI.isdisjoint(processor().abilities)
    return 8 if able else 7


def saturation_warning(weight_bits: int, able: bool | None = None) -> str | None:
    """Returns a line if weights of that many bits saturate on this processor, or None."""
    if weight_bits <= choose_weight_bits(able):
        return None
    return ("this processor has no VNNI: its int8 kernels saturate with 8-bit weights, which costs about 2 dB; use "
            "7-bit weights here.")


def convolutions(model: onnx.ModelProto) -> list[str]:
    """Returns the names of the convolutions that can be quantized: those whose weights are constants."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return [node.name for node in model.graph.node if node.op_type == QUANTIZED and node.input[1] in constants]


def calibrated_tensors(model: onnx.ModelProto) -> list[str]:
    """Returns the tensors whose ranges `quantize` needs: inputs and outputs of the convolutions."""
    return [tensor for node in model.graph.node if node.op_type == QUANTIZED
            for tensor in (node.input[0], node.output[0])]


def quantize(model: onnx.ModelProto, ranges: Mapping[str, tuple[float, float]], *, weight_bits: int,
             form: str = "onnxruntime", layers: Collection[str] | None = None) -> onnx.ModelProto:
    """Returns the QDQ form of a float32 model; `model` is unchanged.

    ranges: {tensor: (low, high)} of calibrated_tensors. weight_bits: 7 or 8. form: one of FORMS.
    layers: names of the convolutions that become int8; None: all. Raises UserError for an unknown form or a model
    without convolutions.
    """
    if form not in FORMS:
        raise UserError(f"int8 form {form}: it is one of {', '.join(FORMS)}." + nearest(form, FORMS))
    chosen = convolutions(model) if layers is None else [name for name in convolutions(model) if name in set(layers)]
    if not chosen:
        raise UserError("int8: the network has no convolution with constant weights to quantize.")
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    found = TensorsData(CalibrationMethod.MinMax,
                        {tensor: tuple(np.float32(end) for end in ends) for tensor, ends in ranges.items()})
    options = {"OpTypesToExcludeOutputQuantization": [QUANTIZED] if form == "openvino" else []}
    with quiet():  # it reports each weight that it adjusts through the root logger
        quantizer = QDQQuantizer(copy, True, weight_bits == 7, QuantType.QInt8, QuantType.QUInt8, found, chosen, [],
                                 [QUANTIZED], options)
        quantizer.quantize_model()
    quantizer.model.topological_sort()
    return quantizer.model.model


def sensitivities(model: onnx.ModelProto, ranges: Mapping[str, tuple[float, float]],
                  score: Callable[[Callable[[np.ndarray], np.ndarray]], float], *, weight_bits: int,
                  form: str = "onnxruntime") -> list[Sensitivity]:
    """Returns the Sensitivity of each convolution, the largest loss first.

    score: from a function on inputs, float32 [1, 3, S, S] -> [1, 3, S, S], to a mean PSNR. The layers are emulated
    exactly, so the result does not depend on the processor.
    """
    whole = score(runner(open_session(model)))
    found = [Sensitivity(layer, whole - score(runner(open_session(
        quantize(model, ranges, weight_bits=weight_bits, form=form, layers=[layer]), emulated=True))))
        for layer in convolutions(model)]
    return sorted(found, key=lambda row: -row.loss)


def runner(session) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the function of a session with one input and one output."""
    name = session.get_inputs()[0].name
    return lambda batch: session.run(None, {name: batch})[0]


def kept_in_float(found: Sequence[Sensitivity], limit: float) -> list[str]:
    """Returns the layers that lose more than `limit` dB when they alone are quantized."""
    return [row.layer for row in found if row.loss > limit]
