# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""int8 files: where they quantize, how exactly, and what does not become int8."""
import numpy as np
import onnx
import onnxruntime as ort
import pytest

from deploy import int8
from deploy.calibration import choose_ranges, collect
from deploy.session import open_session
from tests.helpers.onnx_models import small_network
from utils.errors import UserError
from utils.processor import Processor

FACES = [np.random.default_rng(i).uniform(-1, 1, (1, 3, 24, 24)).astype(np.float32) for i in range(4)]


@pytest.fixture(scope="module")
def ranges():
    model = small_network()
    return choose_ranges(collect(model, FACES, int8.calibrated_tensors(model)), "minmax")


def test_convolutions_become_int8_per_channel(ranges):
    model = small_network()
    before = model.SerializeToString()
    found = int8.quantize(model, ranges, weight_bits=8)
    assert model.SerializeToString() == before
    onnx.checker.check_model(found)
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in found.graph.initializer}
    stored = [a for a in tensors.values() if a.dtype == np.int8 and a.ndim == 4]
    assert sorted(a.shape for a in stored) == [(3, 8, 3, 3), (8, 3, 3, 3)]
    assert all(np.abs(a).reshape(len(a), -1).max(1).tolist() == [127] * len(a) for a in stored)
    assert {a.shape for n, a in tensors.items() if n.endswith(".w_scale")} == {(3,), (8,)}


def test_seven_bits_use_half_of_the_levels(ranges):
    found = int8.quantize(small_network(), ranges, weight_bits=7)
    stored = [a for t in found.graph.initializer if (a := onnx.numpy_helper.to_array(t)).ndim == 4]
    assert {a.dtype for a in stored} == {np.dtype(np.int8)} and max(np.abs(a).max() for a in stored) == 64


def test_forms_differ_in_the_convolutions_outputs(ranges):
    for form, after in (("onnxruntime", "QuantizeLinear"), ("openvino", "LeakyRelu")):
        graph = int8.quantize(small_network(), ranges, weight_bits=8, form=form).graph
        first = next(n for n in graph.node if n.name == "first")
        assert next(n for n in graph.node if first.output[0] in n.input).op_type == after
    with pytest.raises(UserError, match="int8 form openvin: .* Did you mean openvino"):
        int8.quantize(small_network(), ranges, weight_bits=8, form="openvin")


def test_emulation_equals_the_unoptimised_graph(ranges):
    found = int8.quantize(small_network(), ranges, weight_bits=8)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    plain = ort.InferenceSession(found.SerializeToString(), options, providers=["CPUExecutionProvider"])
    emulated = int8.runner(open_session(found, emulated=True))(FACES[0])
    exact = plain.run(None, {"input": FACES[0]})[0]
    # A value on the border of two levels may fall to either: float32 sums are ordered differently.
    assert np.mean(np.abs(emulated - exact) > 1e-5) < 0.01
    whole = int8.runner(open_session(small_network()))(FACES[0])
    assert 0 < np.abs(emulated - whole).mean() < 0.02


def test_layers_are_ranked_by_their_loss_and_left_in_float(ranges):
    model = small_network()
    whole = int8.runner(open_session(model))
    references = [whole(face) + np.float32(0.1) for face in FACES]

    def score(run):
        return float(np.mean([-10 * np.log10(np.mean((run(face) - r) ** 2))
                              for face, r in zip(FACES, references, strict=True)]))
    narrow = ranges | {"padded2": (-0.05, 0.05)}  # a bad range makes the second layer the sensitive one
    found = int8.sensitivities(model, narrow, score, weight_bits=8)
    assert [row.layer for row in found] == ["second", "first"] and found[0].loss > 1
    assert int8.kept_in_float(found, 1) == ["second"]
    left = int8.quantize(model, narrow, weight_bits=8, layers=["first"])
    assert next(n for n in left.graph.node if n.name == "second").input[1] == "second.w"


def test_weight_bits_follow_the_processor(monkeypatch):
    for abilities, bits in ((("AVX2",), 7), (("AVX2", "AVX-512", "VNNI"), 8), (("NEON",), 8), ((), 7)):
        monkeypatch.setattr(int8, "processor", lambda abilities=abilities: Processor("CPU", abilities))
        assert int8.choose_weight_bits() == bits and int8.saturation_warning(7) is None
        assert (int8.saturation_warning(8) is None) == (bits == 8)
    assert (int8.choose_weight_bits(True), int8.choose_weight_bits(False)) == (8, 7)
    assert "no VNNI" in int8.saturation_warning(8, False)


def test_a_network_without_convolutions_is_refused():
    model = small_network()
    del model.graph.node[1:]
    with pytest.raises(UserError, match="no convolution"):
        int8.quantize(model, {}, weight_bits=8)
