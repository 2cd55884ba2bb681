# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Checks the layers of the project's packages: a package imports only itself and packages of lower layers."""
import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Lowest layer first. Packages of one layer do not import each other.
LAYERS = [{"utils"}, {"models", "data"}, {"restore"}, {"metrics"}, {"deploy", "engine"}, {"options"}, {"tools"},
          {"benchmarks"}]
PACKAGES = {package: level for level, group in enumerate(LAYERS) for package in group}
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(ROOT)) for path in FILES])
def test_a_package_imports_only_lower_layers(path):
    own = path.relative_to(ROOT).parts[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else \
            [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for package in {name.split(".")[0] for name in names} & PACKAGES.keys() - {own}:
            assert PACKAGES[package] < PACKAGES[own], f"{path.relative_to(ROOT)}:{node.lineno} imports {package}"
