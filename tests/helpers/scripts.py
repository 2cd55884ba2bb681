# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""A copy of the checkout in which tests run the shell scripts, and the pattern of the scripts' closing block."""
import os
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
import yaml

from tests.helpers.faces import write_faces
from tests.helpers.paths import ROOT, SIMULATED_NPU
from tests.helpers.processes import HUNG
from tests.helpers.warm_python import warm_python

TINY_PRESET = {"load_size": 64, "scale_factor": 4, "min_ch": 4, "max_ch": 8, "hourglass_ch": 4, "res_depth": 1,
        "batch_size": 2, "print_freq": 5}
KEYS = ["Network", "RankSize", "BatchSize", "DeviceType", "CaseName", "ActualFPS", "TrainingTime", "TrainAccuracy",
        "ActualLoss", "E2ETrainingTime"]
CLOSING_BLOCK = re.compile(
    r"^------------------ Final result ------------------\n"
    r"Final Performance images/sec : (?P<fps>[\d.]+)\n"
    r"Final Performance sec/step : (?P<step>[\d.]+)\n"
    r"E2E Training Duration sec : (?P<seconds>\d+)\n"
    r"Final Train Accuracy : (?P<accuracy>[\d.]+|NA)\n\Z", re.MULTILINE)
SIMULATED = {"PYTHONPATH": str(SIMULATED_NPU)}  # environment that makes a script find the simulated NPU


class Checkout:
    """A copy of the project, a tiny preset, and a folder of faces, all in one temporary folder."""

    def __init__(self, folder):
        self.folder, self.repo = folder, folder / "my repo"
        packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"benchmarks"}
        for part in (*packages, "test"):
            shutil.copytree(ROOT / part, self.repo / part, ignore=shutil.ignore_patterns("output", "__pycache__"))
        for path in ROOT.glob("*.py"):
            shutil.copy(path, self.repo)
        self.faces = folder / "it's \"my\" faces"
        write_faces(self.faces, 40)
        (folder / "tiny.yml").write_text(yaml.safe_dump(TINY_PRESET))
        self.output = self.repo / "test/output/0"
        self.real_path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])

    def start(self, *command, **env):
        """Starts a process with the temporary folder as its working folder; paths in `command` are relative to it."""
        warm = os.pathsep.join([os.path.dirname(warm_python()), self.real_path])
        env = {"PATH": warm, "ASCEND_DEVICE_ID": "0", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"} | env
        return subprocess.Popen(list(map(str, command)), cwd=self.folder, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, env=os.environ | env)

    def finish(self, process):
        out, err = process.communicate(timeout=HUNG)
        return SimpleNamespace(status=process.returncode, out=out, err=err)

    def script(self, name, *arguments, **env):
        return self.finish(self.start("bash", f"my repo/test/{name}", *arguments, **env))

    def train(self, name, *arguments, **env):
        return self.script(name, "--preset=tiny.yml", "--workers=0", *arguments, **env)

    @staticmethod
    def check_speed(block, faces):
        """Checks that the closing block's images/sec (two decimals) equals faces per step divided by sec/step."""
        assert float(block["fps"]) == pytest.approx(faces / float(block["step"]), abs=0.005001)

    def keys(self, case):
        return dict(line.split(" = ", 1) for line in (self.output / f"{case}.log").read_text().splitlines())
