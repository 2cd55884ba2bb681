# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Small ONNX models, made without torch."""
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def small_network(channels=8, seed=0):
    """Returns a model [N, 3, H, W] -> the same shape: pad, convolution, leaky ReLU, pad, convolution."""
    rng = np.random.default_rng(seed)
    weights = {"first.w": rng.normal(0, 0.2, (channels, 3, 3, 3)), "first.b": rng.normal(0, 0.1, channels),
               "second.w": rng.normal(0, 0.1, (3, channels, 3, 3)), "second.b": rng.normal(0, 0.1, 3)}
    pads = numpy_helper.from_array(np.array([0, 0, 1, 1, 0, 0, 1, 1]), "pads")
    nodes = [helper.make_node("Pad", ["input", "pads"], ["padded"], "pad", mode="reflect"),
             helper.make_node("Conv", ["padded", "first.w", "first.b"], ["low"], "first"),
             helper.make_node("LeakyRelu", ["low"], ["active"], "relu", alpha=0.2),
             helper.make_node("Pad", ["active", "pads"], ["padded2"], "pad2", mode="reflect"),
             helper.make_node("Conv", ["padded2", "second.w", "second.b"], ["output"], "second")]
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3, "height", "width"])
             for name in ("input", "output")]
    graph = helper.make_graph(nodes, "small", value[:1], value[1:], [pads, *(
        numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items())])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model
