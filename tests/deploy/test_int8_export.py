# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""newexport.py --precision int8 --gtroot: int8 files, the table of all files, Ascend's folder, and its commands."""
import ast
import json
import os
import re
import runpy
import shlex
import subprocess
import sys
import types
import weakref
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from deploy import ascend_commands, evaluation, int8
from deploy.ascend_commands import CALIBRATION_FACES
from deploy.exporter import Exporter
from deploy.faces import faces_of
from deploy.session import open_session
from options.export_options import parse_export
from restore.restorer import Restorer
from tests.helpers.deployed import SMALL, assert_atc_reads, save_recipe
from tests.helpers.faces import write_faces
from tests.helpers.runs import restore
from tools.write_npz import write_inputs
from utils.errors import UserError
from utils.images import Skipped
from utils.onnx_file import INPUT, OnnxNetwork, read_metadata

NAME = "openvino 'a' $(touch x)"  # the files' metadata, not their names, say which runtime they are for


def export(weights, folder, *words):
    return Exporter(parse_export(["--pth_path", str(weights), "--output_path", str(folder), *map(str, words)])).run()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Returns (weights, faces, folder) of an export with everything, whose name is hostile to a shell."""
    folder = tmp_path_factory.mktemp("int8")
    faces = write_faces(folder / "faces", 12, size=(40, 40))
    weights = save_recipe(folder, SMALL["sparnet"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "peak_memory", lambda *_: 50.0)  # it starts a process per number: a test of its own
        assert export(weights, folder / "out", "--name", NAME, "--precision", "fp32,int8", "--calibroot", faces,
                      "--gtroot", faces, "--max_images", 3, "--rounds", 1, "--calibration_faces", 8,
                      "--sensitivity_faces", 2, "--sensitive", "0.01", "--batch", 2, "--soc_version",
                      "Ascend310P3,Ascend910B4") == 0
    return weights, faces, folder / "out"


def test_int8_files_describe_themselves_and_restore(exported):
    weights, faces, out = exported
    rows = json.loads((out / "export.json").read_text(encoding="utf-8"))["files"]
    assert [row["file"] for row in rows] == [f"{NAME}.onnx", f"{NAME}_int8.onnx", f"{NAME}_int8_openvino.onnx"]
    for row in rows[1:]:
        found = read_metadata(out / row["file"])
        assert found["precision"] == "int8" and found["calibration"] == "mse"
        assert int(found["weight_bits"]) == int8.choose_weight_bits() and found["model"] == "sparnet"
    low = np.random.default_rng(0).uniform(-1, 1, (2, 3, 32, 32)).astype(np.float32)
    whole, quantized = (OnnxNetwork(out / row["file"])(low) for row in rows[:2])
    emulated = int8.runner(open_session(out / rows[1]["file"], emulated=True))(low)  # equal on every processor
    assert 0 < np.abs(whole - emulated).mean() < 0.15 * np.abs(whole).mean()
    assert np.abs(quantized - emulated).mean() < 0.05 * np.abs(whole).mean()  # saturating kernels: 0.07
    record = json.loads((out / "calibration.json").read_text(encoding="utf-8"))
    model = onnx.load(out / f"{NAME}.onnx")
    assert {row["layer"] for row in record["sensitivity"]} == set(int8.convolutions(model))
    assert len(record["faces"]) == 8 and set(record["ranges"]) == set(int8.calibrated_tensors(model))


def test_the_table_has_a_row_per_file_and_runtime(exported):
    _, _, out = exported
    table = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    rows = [(row["runtime"], row["precision"], row["how"]) for row in table["rows"]]
    assert rows == [("PyTorch", "fp32", "as deployed"), ("ONNX Runtime", "fp32", "as deployed"),
                    ("OpenVINO", "fp32", "as deployed"), ("ONNX Runtime", "int8", "as deployed"),
                    ("ONNX Runtime", "int8", "emulated"), ("OpenVINO", "int8", "as deployed"),
                    ("ONNX Runtime", "int8", "emulated")]
    assert table["faces"] == 3 and set(table["rows"][0]["scores"]) == {"sparnet", "benchmark", "rgb"}
    for row in table["rows"][:3]:
        assert all(abs(score["loss"]) < 1e-3 for score in row["scores"].values())
        assert all(row[name]["median_ms"] > 0 and row[name]["peak_mb"] == 50 for name in ("batch 1", "batch 4"))
    text = (out / "evaluation.md").read_text(encoding="utf-8")
    assert len([line for line in text.splitlines() if line.startswith("| ")]) == 2 + len(rows)
    assert "int8, emulated" in text and text.split("\n\n")[0] in (out / "ascend/README.md").read_text(encoding="utf-8")


def test_peak_memory_is_that_of_the_runtime_alone(exported):
    from types import SimpleNamespace
    weights, _, out = exported
    with_torch, onnx_only = (evaluation.peak_memory(SimpleNamespace(file=file, runtime=runtime), 1, 32)
                             for file, runtime in ((weights, "torch"), (out / f"{NAME}.onnx", "onnx")))
    assert 20 < onnx_only < with_torch


@pytest.fixture
def ais_bench(monkeypatch):
    """Stands in for Ascend's package: a session returns its input, unless the model's name asks for a fault."""
    faults = {"cut": lambda feed: feed[..., :16], "nan": lambda feed: feed * np.nan, "raises": lambda feed: 1 / 0}

    class InferSession:
        def __init__(self, device_id, model_path):
            assert device_id == 0 and Path(model_path).suffix == ".om"
            if Path(model_path).stem == "unloadable":
                raise RuntimeError("load model failed")
            self.compute = faults.get(Path(model_path).stem, np.array)

        def infer(self, feeds):
            return [self.compute(feed) for feed in feeds]
    interface = types.ModuleType("ais_bench.infer.interface")
    interface.InferSession = InferSession
    for name in ("ais_bench", "ais_bench.infer"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "ais_bench.infer.interface", interface)


def test_om_files_are_rows_of_the_table_and_those_that_fail_cost_their_rows(exported, tmp_path, ais_bench, monkeypatch,
                                                                            capsys):
    weights, faces, _ = exported
    monkeypatch.setattr(evaluation, "peak_memory", lambda *_: None)
    files = [tmp_path / f"{name}.om" for name in ("cut", "nan", "raises", "unloadable", "net")]
    for file in files:
        file.write_bytes(b"model")
    assert export(weights, tmp_path / "out", "--gtroot", faces, "--max_images", 2, "--rounds", 1, "--om",
                  *files) == 1
    table = json.loads((tmp_path / "out" / "evaluation.json").read_text(encoding="utf-8"))
    row = table["rows"][-1]
    assert (row["file"], row["runtime"], row["precision"]) == ("net.om", "ais_bench", "as compiled")
    assert [other["file"] for other in table["rows"]].count("w.onnx") == len(table["rows"]) - 2 == 2
    inputs = faces_of(faces, "--gtroot", Restorer.load(weights, "cpu").description, 2, Skipped())
    bicubic = [evaluation.score(torch.from_numpy(inputs[i][0]), inputs.reference(i), "rgb").psnr for i in range(2)]
    assert row["scores"]["rgb"]["psnr"] == pytest.approx(np.mean(bicubic))
    assert "net.om: wall-clock time" in table["notes"][-1]
    needed = "finite floats [2, 3, 32, 32] are needed"
    assert table["failed"] == [
        f"cut.om: not evaluated in ais_bench: its output is float32 [2, 3, 32, 16]; {needed}",
        f"nan.om: not evaluated in ais_bench: its output is float32 [2, 3, 32, 32]; {needed}",
        "raises.om: not evaluated in ais_bench: division by zero",
        "unloadable.om: ais_bench cannot load it: load model failed"]
    assert capsys.readouterr().err == "".join(f"error: {line}\n" for line in table["failed"])
    assert (tmp_path / "out" / "ascend").is_dir()


@pytest.mark.parametrize("words, message", [
    (["--om", "net.om"], "--om: the files are compared with references: give --gtroot"),
    (["--gtroot", "FACES", "--om", "none.om"], "none.om: there is no such file"),
    (["--gtroot", "FACES", "--om", "net.onnx"], "a file of ATC, with the ending .om, is needed"),
    (["--gtroot", "FACES", "--om", "out/net.om"], "it lies in --output_path, whose files are moved aside"),
    (["--gtroot", "links"], "--output_path out: it contains --gtroot"),
    (["--precision", "int8", "--calibroot", "list.txt"], "it contains .*face0.npy of --calibroot")])
def test_inputs_that_cannot_be_used_are_refused_first(exported, tmp_path, ais_bench, monkeypatch, words, message):
    weights, faces, _ = exported
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    for name in ("net.om", "net.onnx", "out/net.om"):
        (tmp_path / name).write_bytes(b"model")
    (tmp_path / "links").mkdir()
    (tmp_path / "out" / "face.png").write_bytes((faces / "000.png").read_bytes())
    (tmp_path / "links" / "face.png").symlink_to(tmp_path / "out" / "face.png")
    for number in range(8):
        np.save(tmp_path / "out" / f"face{number}.npy", np.zeros((1, 3, 32, 32), np.float32))
    (tmp_path / "list.txt").write_text("".join(f"out/face{number}.npy\n" for number in range(8)))
    with pytest.raises(UserError, match=message):
        export(weights, "out", *(str(faces) if word == "FACES" else word for word in words))
    assert len(os.listdir(tmp_path / "out")) == 10


def test_om_files_need_ais_bench(exported, tmp_path):
    weights, faces, _ = exported
    with pytest.raises(UserError, match="--om: the package ais_bench cannot be imported.*comes with Ascend's tools"):
        export(weights, tmp_path / "out", "--gtroot", faces, "--om", tmp_path / "net.om")


def test_one_file_is_loaded_at_a_time_and_an_absent_runtime_is_a_note(exported, monkeypatch):
    weights, faces, out = exported
    loaded, most = weakref.WeakSet(), []

    class Watched(OnnxNetwork):
        def __init__(self, path, runtime, threads):
            if runtime == "openvino":
                raise UserError("not installed")
            super().__init__(path, runtime, threads)
            loaded.add(self)
            most.append(len(loaded))
    monkeypatch.setattr(evaluation, "OnnxNetwork", Watched)
    monkeypatch.setattr(evaluation, "peak_memory", lambda *_: None)
    restorer = Restorer.load(weights, "cpu")
    files = [out / f"{NAME}.onnx", out / f"{NAME}_int8.onnx"]
    scored = faces_of(faces, "--gtroot", restorer.description, 2, Skipped())
    table = evaluation.evaluate(weights, restorer, files, scored, batch=2, rounds=1)
    assert most == [1, 1] and [row["how"] for row in table["rows"]] == ["as deployed"] * 3 + ["emulated"]
    assert table["notes"] == [f"{NAME}.onnx: absent in OpenVINO: not installed"]


def test_shell_scripts_quote_every_name(exported, tmp_path):
    """Runs them with stand-ins for Ascend's tools, which print their arguments."""
    _, _, out = exported
    stand_in = tmp_path / "bin" / "atc"
    stand_in.parent.mkdir()
    code = shlex.quote("import json, sys; print(json.dumps(sys.argv[1:]))")
    stand_in.write_text(f'#!/bin/bash\nexec {shlex.quote(sys.executable)} -SEc {code} "$@"\n', encoding="utf-8")
    stand_in.chmod(0o755)
    for name in ("python3", "amct_onnx"):
        os.link(stand_in, stand_in.with_name(name))

    def calls(script, *words):
        done = subprocess.run(["bash", str(out / "ascend" / script), *map(str, words)], capture_output=True, text=True,
                              env=os.environ | {"PATH": f"{stand_in.parent}:{os.environ['PATH']}"}, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]
    atc = calls("atc.sh")
    assert len(atc) == 2 * (6 + 1)
    assert atc[0] == ["--framework=5", f"--model=../{NAME}.onnx", f"--output={NAME}_fp16_Ascend310P3_bs1",
                      "--input_format=NCHW", f"--input_shape={INPUT}:1,3,32,32", "--soc_version=Ascend310P3",
                      "--precision_mode_v2=fp16"]
    assert atc[6][-1] == "--insert_op_conf=aipp.cfg" and "precision_mode=" not in str(atc)
    for folder in (".", "a $b"):
        (tmp_path / "in puts" / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / "in puts" / folder / "face.bin").touch()
    bench = calls("ais_bench.sh", "in puts", "out", "Ascend910B4")
    assert bench[0] == ["-m", "ais_bench", "--model", f"./{NAME}_fp16_Ascend910B4_bs1.om",
                        "--input", f"{tmp_path}/in puts/.", "--output", str(tmp_path / "out"),
                        "--output_dirname", ".", "--outfmt", "NPY", "--batchsize", "1"]
    assert bench[1][5::4] == [str(tmp_path / "in puts" / "a $b"), "a $b", "1"] and (tmp_path / "out" / "a $b").is_dir()
    assert len(bench) == 2 + 6 and calls("amct.sh")[0][2] == f"../{NAME}.onnx"
    assert not (tmp_path / "x").exists() and not (out / "ascend" / "x").exists()


def test_ascends_folder_is_complete(exported):
    _, _, out = exported
    folder = out / "ascend"
    assert {path.name for path in folder.iterdir()} >= {
        *(f"{NAME}_{part}.py" for part in ("pth2onnx", "preprocess", "postprocess", "msmodelslim")), "aipp.cfg",
        "atc.sh", "ais_bench.sh", "amct.cfg", "amct.sh", "README.md", "LICENSE", "requirements.txt",
        "modelzoo_level.txt"}
    for path in folder.glob("*.py"):
        ast.parse(path.read_text(encoding="utf-8"))
    data = sorted((folder / "calibration").iterdir())
    assert len(data) == min(8, CALIBRATION_FACES) and np.fromfile(data[0], np.float32).size == 3 * 32 * 32
    kept = json.loads((out / "calibration.json").read_text(encoding="utf-8"))["float_layers"]
    assert kept and re.findall('skip_layers: "(.*)"', (folder / "amct.cfg").read_text(encoding="utf-8")) == kept
    slim = (folder / f"{NAME}_msmodelslim.py").read_text(encoding="utf-8")
    assert f"exclude_nodes={kept!r}" in slim and "calib_method=1," in slim  # percentile: it has no mse, the default
    assert "msModelSlim chooses its ranges by percentile" in (folder / "README.md").read_text(encoding="utf-8")
    assert "min_chn_0: 127.5" in (folder / "aipp.cfg").read_text(encoding="utf-8")
    assert "FuncStatus:NOK" in (folder / "modelzoo_level.txt").read_text(encoding="utf-8")


def script(out, part, monkeypatch, *words):
    path = out / "ascend" / f"{NAME}_{part}.py"
    monkeypatch.setattr(sys, "argv", [str(path), *map(str, words)])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(path), run_name="__main__")
    assert not end.value.code


def test_preprocess_runtime_postprocess_score_as_newtest_does(exported, tmp_path, monkeypatch):
    weights, faces, out = exported
    script(out, "preprocess", monkeypatch, faces, tmp_path / "in", "--clean")
    network = OnnxNetwork(out / f"{NAME}.onnx")
    for path in sorted((tmp_path / "in").glob("*.bin")):
        low = np.fromfile(path, np.float32).reshape(1, 3, 32, 32)
        (tmp_path / "made").mkdir(exist_ok=True)
        np.save(tmp_path / "made" / f"{path.stem}_0.npy", network(low))  # as ais_bench names it
    script(out, "postprocess", monkeypatch, tmp_path / "made", tmp_path / "scores", "--gtroot", faces)
    found = json.loads((tmp_path / "scores" / "scores.json").read_text(encoding="utf-8"))["protocols"]
    newtest = restore(tmp_path, weights, "--gtroot", faces)
    wanted = json.loads((newtest / "scores.json").read_text(encoding="utf-8"))["protocols"]
    assert set(found) == set(wanted)
    for name, scores in wanted.items():
        assert found[name]["input"] == scores["input"]
        assert abs(found[name]["restored"]["psnr"] - scores["restored"]["psnr"]) < 1e-3


def test_pth2onnx_makes_the_same_file(exported, tmp_path, monkeypatch):
    _, _, out = exported
    script(out, "pth2onnx", monkeypatch, "--output_path", tmp_path / "again")
    low = np.zeros((1, 3, 32, 32), np.float32)
    assert np.array_equal(OnnxNetwork(tmp_path / "again" / f"{NAME}.onnx")(low), OnnxNetwork(out / f"{NAME}.onnx")(low))


def test_atc_reads_the_float_file_only(exported):
    _, _, out = exported
    assert_atc_reads(onnx.load(out / f"{NAME}.onnx"))
    with pytest.raises(AssertionError):  # QuantizeLinear
        assert_atc_reads(onnx.load(out / f"{NAME}_int8.onnx"))


@pytest.mark.parametrize("words, message", [
    ([], "--precision int8 needs faces for the calibration: --calibroot FACES"),
    (["--calibroot", "none"], "--calibroot: the folder none does not exist"),
    (["--calibroot", "FACES", "--calibration_faces", "7"], "argument --calibration_faces: 7 is below 8"),
    (["--calibroot", "FEW"], "--calibroot: .*few has 7 faces; 8 or more are needed"),
    (["--calibroot", "FACES", "--calibration", "entropy"], "'entropy' is unknown; there are minmax, percentile"),
    (["--calibroot", "FACES", "--formats", "pt2"], "--precision int8 is for --formats onnx only"),
    (["--calibroot", "FACES", "--weight_bits", "9"], "--weight_bits: 9 is above 8"),
    (["--calibroot", "FACES", "--soc_version", "Ascend310P3;rm"], "is no name of an Ascend processor"),
    (["--calibroot", "FACES", "--dataroot", "FACES"], "give --gtroot FOLDER, too"),
    (["--calibroot", "FACES", "--gtroot", "none"], "--gtroot: the folder none does not exist")])
def test_bad_input_is_one_line_and_writes_nothing(exported, tmp_path, words, message):
    weights, faces, _ = exported
    few = write_faces(tmp_path / "few", 7)
    words = [{"FACES": str(faces), "FEW": str(few)}.get(word, word) for word in words]
    with pytest.raises(UserError, match=message) as error:
        export(weights, tmp_path / "out", "--precision", "int8", *words)
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


def test_npz_inputs_calibrate_without_sensitivity(exported, tmp_path, capsys):
    weights, faces, _ = exported
    write_inputs(faces, tmp_path / "npz", 32, "celeba")
    export(weights, tmp_path / "out", "--name", "net", "--precision", "int8", "--weight_bits", 8, "--calibration",
           "minmax", "--calibroot", tmp_path / "npz" / "inputs.txt")
    said = capsys.readouterr().out
    assert "has no references (a list of inputs): the layers' sensitivity is not measured" in said
    assert ("warning: --weight_bits 8: this processor has no VNNI" in said) == (int8.choose_weight_bits() == 7)
    assert not (tmp_path / "out" / "ascend").exists()  # there is no float32 model


def test_calibration_data_is_written_for_ascends_tools(tmp_path):
    faces = [np.full((1, 3, 8, 8), i, np.float32) for i in range(40)]
    ascend_commands.write_calibration(tmp_path, faces)
    first = [np.fromfile(path, np.float32)[0] for path in sorted(tmp_path.iterdir())]
    assert len(first) == CALIBRATION_FACES and (first[0], first[-1]) == (0, 39)
