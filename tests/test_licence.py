# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Every source file names the copyright holder and the licence in its first lines, as the ModelZoo asks."""
from tests.helpers.paths import ROOT

HEADER = "# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause"
FOLDERS = ("benchmarks", "data", "deploy", "engine", "metrics", "models", "options", "restore", "test", "tests",
           "tools", "utils")


def test_each_source_file_begins_with_the_licence():
    files = [path for kind in ("*.py", "*.sh") for path in ROOT.glob(kind)]
    files += [path for folder in FOLDERS for kind in ("*.py", "*.sh") for path in (ROOT / folder).rglob(kind)]
    assert len(files) > 250
    bare = [path for path in files if HEADER not in path.read_text(encoding="utf-8").splitlines()[:2]]
    assert bare == []


def test_the_licence_names_the_same_holder():
    assert HEADER.split(". ")[0].removeprefix("# ") in (ROOT / "LICENSE").read_text(encoding="utf-8")
