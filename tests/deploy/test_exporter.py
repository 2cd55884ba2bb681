# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""newexport.py: files of all formats that equal the network, their metadata, and what is refused."""
import json
import os
import re
import shutil
import sys

import numpy as np
import onnx
import pytest
import torch

from deploy import calibration, choices, exporter
from deploy.exporter import Exporter
from deploy.formats import FORMATS, METADATA_FILE
from options.export_options import parse_export
from restore.restorer import Restorer
from tests.helpers.deployed import SMALL, assert_atc_reads, save_recipe
from tests.helpers.faces import write_faces
from tests.helpers.paths import ROOT
from utils.errors import UserError
from utils.onnx_file import checked_content, read_metadata


def export(weights, folder, *words, status=0):
    assert Exporter(parse_export(["--pth_path", str(weights), "--output_path", str(folder), "--name", "net",
                                  *map(str, words)])).run() == status
    return json.loads((folder / "export.json").read_text())["files"]


@pytest.mark.parametrize("name", ["sparnethd", "fsrnet", "gpen"])  # SPARNet: test_int8_export.py
def test_every_network_becomes_onnx_with_operators_that_atc_reads(tmp_path, name, capsys):
    options = SMALL[name] | ({"tied": True} if name == "fsrnet" else {})
    row, = export(save_recipe(tmp_path, options), tmp_path / "out", "--batch", "2,1")
    said = capsys.readouterr().out
    assert row["kept"] and row["difference"] <= row["bound"] == (1e-5 if name == "gpen" else 1e-3)
    assert f"at batch 1, 2, 3: {row['difference']:.1e}" in said
    assert ("tied: it normalises by the batch" in said) == (name == "fsrnet")
    assert ("instance norm" in said) == (name != "gpen")  # a bound above 1e-5 is explained
    model = onnx.load(tmp_path / "out" / "net.onnx")
    assert (model.opset_import[0].version, model.ir_version) == (17, 8)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    assert not {"Shape", "If", "Loop", "Expand", "Identity"} & {node.op_type for node in model.graph.node}
    assert_atc_reads(model)


def test_all_formats_and_precisions(tmp_path):
    weights = save_recipe(tmp_path, SMALL["gpen"], licence="any use", alignment="ffhq", commit="abc", data="faces")
    rows = export(weights, tmp_path / "out", "--formats", "torchscript,pt2,onnx", "--precision", "fp16")
    rows += export(weights, tmp_path / "whole", "--formats", "torchscript,onnx")
    assert {row["file"] for row in rows} == {"net.onnx", "net.torchscript.pt",
                                             *(f"net_fp16{kind.suffix}" for kind in FORMATS.values())}
    assert all(row["difference"] <= (1e-5 if row["precision"] == "fp32" else 5e-2) for row in rows)
    sizes = {row["file"]: row["bytes"] for row in rows}
    assert sizes["net_fp16.onnx"] < 0.8 * sizes["net.onnx"]
    found = read_metadata(tmp_path / "out" / "net_fp16.onnx")
    extra = {METADATA_FILE: ""}
    torch.jit.load(tmp_path / "out" / "net_fp16.torchscript.pt", _extra_files=extra)
    assert json.loads(extra[METADATA_FILE]) == found
    extra = {METADATA_FILE: ""}
    torch.export.load(tmp_path / "out" / "net_fp16.pt2", extra_files=extra)
    assert json.loads(extra[METADATA_FILE]) == found
    expected = {"input_name": "input", "output_name": "output", "layout": "float32 NCHW", "value_range": "-1 to 1",
                "colour_order": "RGB", "input_kind": "single", "trained_side": "null",
                "precision": "fp16", "network": "GPEN", "model": "gpen",
                "licence": "any use", "commit": "abc", "data": "faces"}
    assert expected.items() <= found.items() and len(found["weights_sha256"]) == 64
    described = Restorer.load(tmp_path / "out" / "net_fp16.onnx").description
    assert described == Restorer.load(weights, "cpu").description and described.alignment == "ffhq"


def test_the_options_name_what_there_is():
    assert tuple(FORMATS) == choices.FORMATS and (*exporter.PRECISIONS, choices.INT8) == choices.PRECISIONS
    assert tuple(calibration.METHODS) == choices.METHODS


def test_a_file_that_differs_is_not_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(exporter, "largest_difference", lambda network, cases: float("nan"))
    row, = export(save_recipe(tmp_path, SMALL["gpen"]), tmp_path / "out", status=1)
    assert not row["kept"] and sorted(os.listdir(tmp_path / "out")) == [".lock", ".writer", "export.json"]
    assert capsys.readouterr().err.startswith("error: net.onnx: its result differs from the network's")


def test_an_earlier_export_is_moved_aside_and_other_files_are_refused(tmp_path, monkeypatch, capsys):
    weights, out = save_recipe(tmp_path, SMALL["gpen"]), tmp_path / "out"
    monkeypatch.setitem(FORMATS, "onnx", FORMATS["torchscript"])  # quick
    export(weights, out, "--formats", "onnx")
    export(weights, out, "--formats", "torchscript")
    assert "held earlier exports: moved to" in capsys.readouterr().out
    assert (tmp_path / "out.previous" / "net.torchscript.pt").exists()
    (out / "export.json").unlink()
    before = sorted(os.listdir(out))
    with pytest.raises(UserError, match="it holds files that are not of an export, e.g. net.torchscript.pt"):
        export(weights, out)
    with pytest.raises(UserError, match="--output_path .*: it contains the weights .*w.safetensors. Choose another"):
        export(weights, tmp_path)
    with pytest.raises(UserError, match="it is a file; a folder is needed"):
        export(weights, weights)
    (tmp_path / "blocked").write_text("")
    with pytest.raises(UserError, match="cannot write into|cannot be read"):
        export(weights, tmp_path / "blocked" / "out")
    assert sorted(os.listdir(out)) == before


@pytest.mark.parametrize("words", [
    ["--gtroot"], ["--precision", "int8", "--calibroot"], ["--gtroot", "FACES", "--dataroot"]])
def test_faces_in_the_output_folder_are_not_moved_aside(tmp_path, faces, words):
    weights, inside = save_recipe(tmp_path, SMALL["sparnet"]), write_faces(tmp_path / "out" / "faces", 8)
    (tmp_path / "out" / "export.json").write_text("{}")
    words = [str(faces) if word == "FACES" else word for word in words]
    with pytest.raises(UserError, match=f"--output_path .*: it contains {words[-1]} .*out/faces. Choose another"):
        export(weights, tmp_path / "out", *words, inside)
    assert len(list(inside.iterdir())) == 8 and not (tmp_path / "out.previous").exists()


@pytest.mark.parametrize("words, message", [
    (["--formats", "onxx"], "'onxx' is unknown; there are onnx, torchscript, pt2.* Did you mean onnx"),
    (["--formats", "onnx,"], "argument --formats: '' is unknown; there are onnx"),
    (["--precision", "int4"], "argument --precision: 'int4' is unknown; there are fp32, fp16, int8"),
    (["--opset", "11"], "argument --opset: 11 is below 13"), (["--opset", "21"], "--opset: 21 is above 20"),
    (["--batch", "0"], "argument --batch: 0 is below 1"), (["--batch", "1,x"], "argument --batch: invalid list value"),
    (["--batch", "65"], "argument --batch: 65 is above 64"), (["--name", "../x"], "must be a plain folder name"),
    (["--name", "n" * 201], "has 201 bytes; at most 200 are possible"), (["--name", "\udcc3\udcfb"], "is not UTF-8"),
    (["--model", "gpen", "--load_size", "16"], "do not fit GPEN: .*another kind of network"),
    (["--min_ch", "5"], "(?s)do not fit SPARNet"), (["--workers", "1"], "unknown option --workers"),
    (["--pretrained", "sparnet"], "contradict each other"),
])
def test_bad_options_are_refused_before_anything_is_written(tmp_path, words, message):
    weights = save_recipe(tmp_path, SMALL["sparnet"])
    with pytest.raises(UserError, match=message):
        export(weights, tmp_path / "out", *words)
    assert not (tmp_path / "out").exists()


def test_missing_packages_and_weights_are_one_line(tmp_path, monkeypatch):
    weights = save_recipe(tmp_path, SMALL["sparnet"])
    with pytest.raises(UserError, match="which weights. Give --pth_path FILE or --pretrained NAME"):
        parse_export([])
    with pytest.raises(UserError, match="there is no such weights file"):
        export(tmp_path / "gone.pth", tmp_path / "out")
    monkeypatch.setitem(sys.modules, "onnxslim", None)
    with pytest.raises(UserError, match="--formats onnx: the package onnxslim cannot be imported .*pip install -r "
                                        "requirements-deploy.txt") as error:
        export(weights, tmp_path / "out")
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


def test_a_deployed_file_is_not_exported_again(tmp_path):
    content = onnx.helper.make_model(onnx.helper.make_graph([], "empty", [], []))
    weights = save_recipe(tmp_path, SMALL["sparnet"])
    onnx.helper.set_model_props(content, dict(Restorer.load(weights, "cpu").description.metadata()))
    (tmp_path / "net.onnx").write_bytes(checked_content(content.SerializeToString()))
    with pytest.raises(UserError, match="it is an exported file already"):
        export(tmp_path / "net.onnx", tmp_path / "out")


def test_training_needs_no_deployment_package():
    """deploy/ and the options import onnx and its relatives only where they are used."""
    imported = re.compile(r"^\s*(import|from) (onnx|onnxruntime|onnxslim|openvino)\b", re.M)
    assert imported.search((ROOT / "deploy/formats.py").read_text(encoding="utf-8"))
    for folder in ("utils", "models", "data", "restore", "metrics", "engine", "options"):
        for path in (ROOT / folder).rglob("*.py"):
            assert not imported.search(path.read_text(encoding="utf-8")), path


def test_a_full_copy_restores_what_the_network_restores(tmp_path):
    """A file that was copied elsewhere needs nothing beside it."""
    weights = save_recipe(tmp_path, SMALL["gpen"])
    export(weights, tmp_path / "out")
    shutil.copy(tmp_path / "out" / "net.onnx", tmp_path / "alone.onnx")
    faces = [np.full((20, 24, 3), 90, np.uint8)]
    one, other = (Restorer.load(path, "cpu")(faces)[0] for path in (weights, tmp_path / "alone.onnx"))
    assert np.abs(one.astype(int) - other).max() <= 1
