# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Every text file of the project is opened as UTF-8, whatever the locale."""
import ast

import pytest

from tests.helpers.paths import ROOT

SOURCES = [path for path in sorted(ROOT.rglob("*.py"))
           if not any(part.startswith(".") or part == "tests" for part in path.relative_to(ROOT).parts)]
POSITIONS = {"read_text": 0, "write_text": 1, "open": 3}  # of `encoding` among the arguments


def without_encoding(source):
    """Yields the line of each call that opens a text file with the locale's encoding."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        named = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", None)
        if named not in POSITIONS or (named == "open" and not is_file_open(node)):
            continue
        if len(node.args) <= POSITIONS[named] and "encoding" not in {keyword.arg for keyword in node.keywords}:
            yield node.lineno


def is_file_open(node):
    """Returns whether the call is open(file) or path.open() in text mode; other modules have functions of that name."""
    if isinstance(node.func, ast.Attribute) and getattr(node.func.value, "id", None) in ("os", "Image", "webbrowser"):
        return False
    of_path = isinstance(node.func, ast.Attribute)
    modes = [keyword.value for keyword in node.keywords if keyword.arg == "mode"] + node.args[not of_path:][:1]
    return not any(isinstance(mode, ast.Constant) and "b" in str(mode.value) for mode in modes)


@pytest.mark.parametrize("path", SOURCES, ids=[str(path.relative_to(ROOT)) for path in SOURCES])
def test_text_files_name_their_encoding(path):
    assert list(without_encoding(path.read_text(encoding="utf-8"))) == []


def test_the_search_finds_what_it_looks_for():
    source = ("open(a)\nopen(a, 'w')\np.read_text()\np.write_text('x')\np.open('a')\n"
              "open(a, 'rb')\nopen(a, encoding='utf-8')\np.write_text('x', 'utf-8')\nImage.open(a)\nos.open(a, 1)\n")
    assert list(without_encoding(source)) == [1, 2, 3, 4, 5]
