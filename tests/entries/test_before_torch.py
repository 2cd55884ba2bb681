# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The variables that torch reads at import are set before it, by each entry point, even if a backend fails to load."""
import json
import os
import re
import subprocess
import sys

import pytest

from models import RECIPES
from options.export_options import export_parser
from options.test_options import test_parser as restoring_parser
from options.train_options import train_parser
from tests.helpers.paths import ROOT

EXPECTED = {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0", "GOMP_SPINCOUNT": "1000"}  # the values in utils/__init__.py
SOURCES = [path.relative_to(ROOT) for path in sorted(ROOT.rglob("*.py"))
           if not any(part.startswith(".") or part == "tests" for part in path.relative_to(ROOT).parts)]
SCRIPTS = [str(path) for path in SOURCES if len(path.parts) == 1]
PACKAGES = sorted({".".join(path.parts[:-1]) for path in SOURCES if len(path.parts) > 1})
PROGRAMS = [f"-m {'.'.join(path.with_suffix('').parts)}" for path in SOURCES
            if len(path.parts) > 1 and re.search(r'^if __name__ == "__main__"', (ROOT / path).read_text(), re.M)]
BACKEND = {  # a package whose torch backend fails to load, as torch-npu's does without CANN
    "broken_backend.py": "def load():\n    raise ImportError('libhccl.so: cannot open shared object file')\n",
    "broken_backend-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: broken-backend\nVersion: 1.0\n",
    "broken_backend-1.0.dist-info/entry_points.txt": "[torch.backends]\nbroken_backend = broken_backend:load\n"}


def environment(*folders):
    """Returns this process's environment without the variables, and with `folders` as PYTHONPATH."""
    rest = {name: value for name, value in os.environ.items() if name not in EXPECTED}
    return rest | {"PYTHONPATH": os.pathsep.join(map(str, folders))}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Returns {target: (imports torch, {variable: value at that import, or at the end if none})} and stderr."""
    targets = [str(ROOT / name) for name in SCRIPTS] + PACKAGES + PROGRAMS
    done = subprocess.run([sys.executable, str(ROOT / "tests/helpers/first_torch.py"), json.dumps(list(EXPECTED)),
                           json.dumps(targets)], capture_output=True, text=True, timeout=120,
                          env=environment(ROOT), cwd=tmp_path_factory.mktemp("elsewhere"))
    assert done.returncode == 0, done.stderr
    lines = map(json.loads, done.stdout.splitlines())
    return {target.removeprefix(f"{ROOT}/"): (reached, variables) for target, reached, variables in lines}, done.stderr


@pytest.mark.parametrize("target", SCRIPTS + PACKAGES + PROGRAMS)
def test_the_variables_are_set_before_torch(found, target):
    results, errors = found
    assert target in results, errors
    assert results[target][1] == EXPECTED


def test_programs_were_followed_up_to_torch(found):
    results, _ = found
    assert all(results[name][0] for name in ("-m tools.export_weights", "-m benchmarks.survival", "-m utils.launch"))


WORDS = """import contextlib, io, json, runpy, sys
for words in json.loads(sys.argv[1]):
    sys.argv = words
    with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())) as out:
        try:
            runpy.run_path(words[0], run_name="__main__")
        except SystemExit as end:
            status = end.code
        out.flush()
    print(json.dumps([words, status, "torch" in sys.modules, out.buffer.getvalue().decode()]))
"""


def test_help_and_errors_in_options_need_no_torch():
    """Users wait seconds for torch. All options of all recipes are still in --help."""
    parsers = {"newtrain.py": train_parser, "newtest.py": lambda model: restoring_parser(model)[0],
               "newexport.py": lambda model: export_parser(model)[0]}
    calls = [[program, *words] for program in parsers for words in (
        *(("--model", model, "--help") for model in RECIPES), ("--epochs", "3"), ("--opt_level", "x"),
        ("--degradation", "grey", "--dataset_name", "seg2face"))]
    done = subprocess.run([sys.executable, "-c", WORDS, json.dumps(calls)], cwd=ROOT, capture_output=True, text=True,
                          timeout=120)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [words for words, *_ in lines] == calls, done.stderr
    for (program, _, model, *_), status, torch_imported, text in lines:
        asked = model in RECIPES
        assert (status, torch_imported) == (0 if asked else 2, False)
        if asked:
            for action in parsers[program](model)._actions:
                assert f" {action.option_strings[0]}" in text, (program, model)


@pytest.fixture(scope="module")
def broken_backend(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    for name, text in BACKEND.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("words, status", [
    (["-c", "import torch"], 1),
    (["-m", "tools.export_weights", "--help"], 0),
    (["-m", "tools.write_npz", "--help"], 0)])
def test_a_backend_that_fails_to_load_stops_plain_torch_and_nothing_here(broken_backend, tmp_path, words, status):
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=120, cwd=tmp_path,
                          env=environment(broken_backend, ROOT))
    assert done.returncode == status, done.stderr
    assert ("libhccl.so" in done.stderr) == bool(status)


@pytest.mark.parametrize("module", ["tools.write_npz", "restore.page"])
def test_help_names_the_command_that_was_given(module):
    done = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.startswith(f"usage: python -m {module} [-h]")
