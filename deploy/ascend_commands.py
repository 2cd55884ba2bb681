# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The folder OUT/ascend/ of an export: scripts and configurations for Ascend's tools, in the layout of the platform's
inference repositories.

The scripts call this project; ATC, ais_bench, AMCT and msModelSlim run on a machine that has them. No text of a user is
pasted into a shell script or a Python file unquoted.
"""
from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deploy.faces import Faces, evenly
from restore.description import Description
from utils.files import replacing, write_file
from utils.onnx_file import INPUT
from utils.version import VERSION

if TYPE_CHECKING:
    from deploy.int8_export import Calibrated

ROOT = Path(__file__).parents[1]
BATCHES = (1, 4, 8, 16, 32)  # of the throughput
CALIBRATION_FACES = 32  # that AMCT and msModelSlim read
MSMODELSLIM = {"minmax": 0, "percentile": 1, "kl": 2}  # its calib_method
MSMODELSLIM_ELSE = "percentile"  # for mse, which it lacks: both leave out rare large values
LICENCE = "# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause\n"
STATES = "FuncStatus:NOK\nPrecisionStatus:NOK\nAutoTune:NOK\nPerfStatus:NOK\n"
CODE = """{licence}\"\"\"{title}\"\"\"
import os
import sys

PROJECT = os.environ.get("FACE_SR_PROJECT", {project})
sys.path.insert(0, PROJECT)
sys.argv[1:] = {words}

from {module} import main  # noqa: E402
from utils.errors import run_main  # noqa: E402

if __name__ == "__main__":
    run_main(main)
"""
SLIM = """{licence}\"\"\"Quantizes the float32 model with msModelSlim (26.1.0), for an NPU.\"\"\"
from pathlib import Path

import numpy as np
from msmodelslim.onnx.post_training_quant import QuantConfig, run_quantize

HERE = Path(__file__).parent
SHAPE = {shape}
DATA = [[np.fromfile(path, np.float32).reshape(SHAPE)] for path in sorted((HERE / "calibration").glob("*.bin"))]

run_quantize(str(HERE.parent / {model}), str(HERE / {target}), QuantConfig(
    quant_mode=1, calib_data=DATA, calib_method={method}, exclude_nodes={kept}, input_shape=[SHAPE],
    is_dynamic_shape=True))
"""
AIPP = """aipp_op {{
    aipp_mode: static
    input_format: RGB888_U8
    src_image_size_w: {size}
    src_image_size_h: {size}
    csc_switch: false
    rbuv_swap_switch: false
    min_chn_0: 127.5
    min_chn_1: 127.5
    min_chn_2: 127.5
    var_reci_chn_0: 0.00784313725490196
    var_reci_chn_1: 0.00784313725490196
    var_reci_chn_2: 0.00784313725490196
}}
"""


def write_folder(folder: Path, options: argparse.Namespace, described: Description,
                 calibrated: Calibrated | None, table: str | None) -> None:
    """Writes the whole folder for the float32 model NAME.onnx, which lies above it.

    calibrated: what int8 was calibrated with; None: no int8 configuration is written. table: of the evaluation, as
    Markdown; None: nothing was measured.
    """
    o, name, size = options, options.name, described.input_size
    batches = sorted({*BATCHES, *o.batch})
    weights = Path(o.pretrain_model_path).resolve()
    task = ["--load_size", str(size), "--dataset_name", described.task, "--scale_factor", str(described.scale_factor),
            *(["--degradation", described.degradation] if described.degradation else [])]
    network = []  # a .safetensors file describes its network itself
    if weights.suffix != ".safetensors":
        values = {"model": described.model, **described.arguments, "priors": described.priors}
        network = [*task, *(word for option, value in values.items() for word in _words(option, value))]
    # Words that the user adds come last, so that they override these.
    scripts = {
        "pth2onnx": ("Exports the weights to NAME.onnx again.", "newexport",
                     f"[*{['--pth_path', str(weights), '--name', name, *network]!r}, "
                     "*sys.argv[1:]]"),
        "preprocess": ("Images to float32 NCHW .bin files: FACES TARGET. With --clean, FACES are clean faces.",
                       "tools.write_npz", f"[*{['--format', 'bin', *task]!r}, *sys.argv[1:]]"),
        "postprocess": ("Scores the outputs: OUTPUTS TARGET --gtroot FACES, and --dataroot INPUTS without --clean.",
                        "tools.score_outputs", f"[*{task!r}, *sys.argv[1:]]")}
    for part, (title, module, words) in scripts.items():
        write_file(folder / f"{name}_{part}.py", CODE.format(licence=LICENCE, title=title, project=repr(str(ROOT)),
                                                             words=words, module=module), make_folder=True)
    write_file(folder / "aipp.cfg", AIPP.format(size=size))
    write_file(folder / "atc.sh", atc_script(name, size, o.soc_version, batches))
    write_file(folder / "ais_bench.sh", bench_script(name, o.soc_version, batches))
    write_file(folder / "requirements.txt", "".join(
        (ROOT / file).read_text(encoding="utf-8") for file in ("requirements-deploy.txt", "requirements.txt")).replace(
        "-r requirements.txt\n", ""))
    write_file(folder / "LICENSE", (ROOT / "LICENSE").read_text(encoding="utf-8"))
    write_file(folder / "modelzoo_level.txt", STATES)
    if calibrated:
        write_calibration(folder / "calibration", calibrated.faces)
        write_file(folder / "amct.cfg", amct_config(calibrated))
        write_file(folder / "amct.sh", amct_script(name, size))
        write_file(folder / f"{name}_msmodelslim.py", SLIM.format(
            licence=LICENCE, shape=[1, 3, size, size], model=repr(f"{name}.onnx"), target=repr(f"{name}_int8_npu.onnx"),
            method=MSMODELSLIM[_method_of_msmodelslim(calibrated)], kept=repr(calibrated.kept)))
    write_file(folder / "README.md", readme(name, size, o.soc_version, batches, calibrated, table))


def _words(option, value):
    if isinstance(value, bool):
        return [f"--{option}"] if value else []
    return [] if value is None else [f"--{option}", str(value)]


def _method_of_msmodelslim(calibrated):
    return calibrated.method if calibrated.method in MSMODELSLIM else MSMODELSLIM_ELSE


def atc_script(name: str, size: int, socs: Sequence[str], batches: Sequence[int]) -> str:
    """Returns atc.sh: one .om file per processor and batch, and one that takes uint8 images through AIPP."""
    lines = [f"#!/bin/bash\n{LICENCE}# Converts the float32 ONNX model to .om files; ATC computes in float16.",
             "set -e", 'cd "$(dirname "$0")"']
    for soc in socs:
        for batch in batches:
            lines.append(_atc(name, size, soc, batch))
        lines.append("# With uint8 RGB images as input: [-1, 1] is computed by AIPP.")
        lines.append(_atc(name, size, soc, 1, aipp=True))
    return "\n".join(lines) + "\n"


def om_name(name: str, soc: str, batch: int, aipp: bool = False) -> str:
    """Returns the name of an .om file, without its extension."""
    return f"{name}_fp16_{soc}_bs{batch}" + "_aipp" * aipp


def _atc(name, size, soc, batch, aipp=False):
    words = ["atc", "--framework=5", f"--model=../{name}.onnx", f"--output={om_name(name, soc, batch, aipp)}",
             "--input_format=NCHW", f"--input_shape={INPUT}:{batch},3,{size},{size}", f"--soc_version={soc}",
             "--precision_mode_v2=fp16", *(["--insert_op_conf=aipp.cfg"] if aipp else [])]
    return shlex.join(words)


def bench_script(name: str, socs: Sequence[str], batches: Sequence[int]) -> str:
    """Returns ais_bench.sh INPUTS OUTPUTS: the outputs for the accuracy, then the throughput of each batch.

    ais_bench reads one folder, not those below it, and writes into OUTPUT/DIRNAME, by default one named by the time.
    """
    lines = [f"#!/bin/bash\n{LICENCE}# bash ais_bench.sh INPUTS OUTPUTS [SOC]: runs the .om files on an Ascend NPU.",
             "set -e", 'inputs=$(realpath "$1"); outputs=$(realpath -m "$2")', f'soc=${{3:-{shlex.quote(socs[0])}}}',
             'cd "$(dirname "$0")"', 'mkdir -p "$outputs"']
    quoted = shlex.quote(f"./{name}_fp16_")
    lines += ['find "$inputs" -name "*.bin" -printf "%P\\0" | xargs -0 -r dirname -z | sort -zu | '
              "while IFS= read -r -d '' folder; do", '    mkdir -p "$outputs/$folder"',
              f'    python3 -m ais_bench --model {quoted}"$soc"_bs1.om --input "$inputs/$folder" --output "$outputs" '
              '--output_dirname "$folder" --outfmt NPY --batchsize 1', "done"]
    for batch in batches:
        lines.append(f'python3 -m ais_bench --model {quoted}"$soc"_bs{batch}.om --loop 100 --batchsize {batch}')
    return "\n".join(lines) + "\n"


def write_calibration(folder: Path, faces: Faces) -> None:
    """Writes evenly spaced faces of the calibration as .bin files, float32 NCHW, which AMCT and msModelSlim read."""
    for number, place in enumerate(evenly(CALIBRATION_FACES, len(faces))):
        with replacing(folder / f"{number:03}.bin", make_folder=True) as file:
            file.write(np.ascontiguousarray(faces[int(place)], np.float32).tobytes())


def amct_config(calibrated: Calibrated) -> str:
    """Returns AMCT's simplified configuration: per-channel weights, asymmetric activations, layers left in float."""
    return "".join([f"batch_num: {min(CALIBRATION_FACES, len(calibrated.faces))}\n", "activation_offset: true\n",
                    *(f'skip_layers: "{layer}"\n' for layer in calibrated.kept),
                    "conv_calibration_config {\n    arq_quantize {\n        channel_wise: true\n    }\n",
                    "    ifmr_quantize {\n        search_range_start: 0.7\n        search_range_end: 1.3\n"
                    "        search_step: 0.01\n        asymmetric: true\n    }\n}\n"])


def amct_script(name: str, size: int) -> str:
    """Returns amct.sh, which quantizes with AMCT; its deploy model takes no dynamic batch."""
    words = ["amct_onnx", "calibration", "--model", f"../{name}.onnx", "--save_path", f"amct/{name}", "--input_shape",
             f"{INPUT}:1,3,{size},{size}", "--data_dir", "calibration", "--data_types", "float32",
             "--calibration_config", "amct.cfg"]
    return f'#!/bin/bash\n{LICENCE}set -e\ncd "$(dirname "$0")"\n{shlex.join(words)}\n'


def readme(name: str, size: int, socs: Sequence[str], batches: Sequence[int],
           calibrated: Calibrated | None, table: str | None) -> str:
    """Returns README.md: steps, inputs and outputs, what was measured, and empty places for the NPU's numbers."""
    shown, quoted = f"`{name}`", shlex.quote(f"./{name}")
    int8 = (f"AMCT (`bash amct.sh`) and msModelSlim (`python3 {quoted}_msmodelslim.py`) quantise {shown}.onnx with the "
            f"faces in `calibration/`; msModelSlim chooses its ranges by {_method_of_msmodelslim(calibrated)}. "
            f"{len(calibrated.kept)} layers stay in float: they lose most when quantised. "
            "QDQ files (`_int8.onnx`) are for ONNX Runtime and OpenVINO; ATC does not read them."
            if calibrated else "No int8 was exported: `newexport.py --precision fp32,int8 --calibroot FACES`.")
    throughput = "".join(f"| {soc} | {batch} | | |\n" for soc in socs for batch in batches)
    return f"""# {name} on Ascend

Written by newexport.py of face super-resolution {VERSION}. Nothing in this folder has run on an NPU yet.

| input | type | shape | layout | values |
|---|---|---|---|---|
| `{INPUT}` | float32 | batch x 3 x {size} x {size} | NCHW, RGB | -1 (black) to 1 (white) |

| output | type | shape | layout | values |
|---|---|---|---|---|
| `output` | float32 | batch x 3 x {size} x {size} | NCHW, RGB | about -1 to 1, not clipped |

Versions: CANN 8.0 or newer (`atc`), ais_bench (`python3 -m ais_bench`), Python 3.10, requirements.txt. The scripts call
the project's checkout; `FACE_SR_PROJECT` names it if it was moved.

```bash
python3 {quoted}_preprocess.py FACES INPUTS --clean       # faces to .bin files
bash atc.sh                                              # NAME.onnx to .om files for {", ".join(socs)}
bash ais_bench.sh INPUTS OUTPUTS                         # accuracy run, then throughput
python3 {quoted}_postprocess.py OUTPUTS SCORES --gtroot FACES
```

## int8

{int8}

## Accuracy and speed elsewhere

{table or "Not measured: give newexport.py --gtroot FACES."}

## Accuracy on the NPU

| model | PSNR / SSIM (sparnet) | loss against float32 |
|---|---|---|
| fp16 | | |
| int8 | | |

## Throughput on the NPU

| processor | batch | images/s, fp16 | images/s, int8 |
|---|---|---|---|
{throughput}"""
