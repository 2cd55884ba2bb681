# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The file formats of deployed networks: how each is written, and how it is loaded to be checked."""
from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from deploy.choices import OPSET
from utils.onnx_file import INPUT, OUTPUT, OnnxNetwork, checked_content
from utils.quiet import quiet

METADATA_FILE = "metadata.json"  # within TorchScript and torch.export files
IR_VERSION = 8  # of opset 17; newer opsets need newer ones
EXAMPLES = 2  # faces of the example input: with one, torch.export would take the batch for a constant


class Format(NamedTuple):
    """suffix: of the file's name. serialize(network, size, metadata, opset) -> bytes. load(path) -> function on arrays.

    packages: what both need beside torch. load's function: float32 [N, 3, S, S] -> likewise.
    """
    suffix: str
    packages: tuple[str, ...]
    serialize: Callable[[nn.Module, int, Mapping[str, str], int], bytes]
    load: Callable[[Path], Callable[[np.ndarray], np.ndarray]]


def serialize_onnx(network: nn.Module, size: int, metadata: Mapping[str, str], opset: int = OPSET) -> bytes:
    """Returns the ONNX model of an export form, with a dynamic batch: slimmed, checked, with a checksum.

    size: side of the square input in pixels.
    """
    import onnx
    import onnxslim
    traced = BytesIO()
    batch = {0: "batch"}
    with quiet(), torch.no_grad(), _half_in_float32():
        torch.onnx.export(network, (_example(size),), traced, dynamo=False, opset_version=opset, input_names=[INPUT],
                          output_names=[OUTPUT], dynamic_axes={INPUT: batch, OUTPUT: batch})
    with quiet():
        model = onnxslim.slim(onnx.load_from_string(traced.getvalue()))
    model.ir_version = max(IR_VERSION, onnx.helper.find_min_ir_version_for(model.opset_import))
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model, full_check=True)
    return checked_content(model.SerializeToString())


def serialize_torchscript(network: nn.Module, size: int, metadata: Mapping[str, str], opset: int) -> bytes:
    """Returns the traced network as a TorchScript file; metadata: JSON in its extra file METADATA_FILE."""
    content = BytesIO()
    with quiet(), torch.no_grad():
        with _half_in_float32():
            traced = torch.jit.trace(network, _example(size), check_trace=False)
        torch.jit.save(torch.jit.freeze(traced), content, _extra_files={METADATA_FILE: json.dumps(metadata)})
    return content.getvalue()


def serialize_pt2(network: nn.Module, size: int, metadata: Mapping[str, str], opset: int) -> bytes:
    """Returns the network as a file of torch.export with a dynamic batch; metadata as in TorchScript."""
    content = BytesIO()
    with quiet(), torch.no_grad():
        program = torch.export.export(network, (_example(size),), dynamic_shapes=({0: torch.export.Dim("batch")},))
        torch.export.save(program, content, extra_files={METADATA_FILE: json.dumps(metadata)})
    return content.getvalue()


@contextlib.contextmanager
def _half_in_float32():
    """Inside the `with` block, the CPU computes float16 convolutions in float32; a trace records the same operators.

    A trace runs the network. On a CPU without float16 instructions torch's own float16 convolutions take about sixty
    times as long: more than nine minutes for GPEN at 512 pixels.
    """
    torchs = torch.ops.aten._convolution.default

    def convolution(x, weight, bias, *settings):
        if x.dtype == torch.float16:
            return convolution(x.float(), weight.float(), None if bias is None else bias.float(), *settings).half()
        return torchs._op_dk(torch._C.DispatchKey.CompositeExplicitAutograd, x, weight, bias, *settings)
    with torch.library._scoped_library("aten", "IMPL", "CPU") as library:
        library.impl("_convolution", convolution)
        yield


def _example(size):
    return torch.linspace(-1, 1, EXAMPLES * 3 * size * size).reshape(EXAMPLES, 3, size, size)


def _load_onnx(path):
    return OnnxNetwork(path, threads=torch.get_num_threads())


def _load_torchscript(path):
    return _on_arrays(torch.jit.load(str(path), map_location="cpu"))


def _load_pt2(path):
    with open(path, "rb") as file:  # torch looks at a name's ending, which is another while the file is written
        return _on_arrays(torch.export.load(file).module())


def _on_arrays(network):
    def compute(faces):
        with torch.no_grad():
            return network(torch.from_numpy(faces)).numpy()
    return compute


FORMATS = {
    "onnx": Format(".onnx", ("onnx", "onnxslim", "onnxruntime"), serialize_onnx, _load_onnx),
    "torchscript": Format(".torchscript.pt", (), serialize_torchscript, _load_torchscript),
    "pt2": Format(".pt2", (), serialize_pt2, _load_pt2),
}
