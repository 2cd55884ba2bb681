# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""README.md and README_zh.md have the same structure; the paths, commands and options in them exist."""
import importlib.util
import re
import shlex
import subprocess

import numpy as np
import pytest
import yaml
from PIL import Image

from models import RECIPES
from options.export_options import export_parser, parse_export
from options.test_options import parse_test
from options.test_options import test_parser as restoring_parser
from options.train_options import parse_train, train_parser
from tests.helpers.paths import ROOT
from tools import readme_results

ENGLISH, CHINESE = "README.md", "README_zh.md"
RESULTS = re.compile(re.escape(readme_results.BEGIN) + ".*?" + re.escape(readme_results.END), re.DOTALL)
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)]+)\)")
SPAN = re.compile(r"`([^`\n]+)`")
ROOT_NAMES = {path.name for path in ROOT.iterdir()}
# Paths that the commands write, and names that the reader chooses.
NOT_IN_THE_REPOSITORY = re.compile(r"^(check_points|results|exports|test/output|mine\.yml)(/|$)|NAME|FACES")


def text_of(name):
    """Returns the page without the results, which tools/readme_results.py writes."""
    return RESULTS.sub("", (ROOT / name).read_text(encoding="utf-8"))


def prose_of(name):
    return BLOCK.sub("", text_of(name))


def blocks(kind):
    return [content for language, content in BLOCK.findall(text_of(ENGLISH)) if language == kind]


def commands(program):
    """Returns the arguments of each command in README.md that runs `program`, directly or through torchrun."""
    lines = (shlex.split(line, comments=True) for block in blocks("bash") for line in block.splitlines())
    return [words[words.index(program) + 1:] for words in lines if program in words]


def table_rows(text):
    """Returns the number of rows of each table."""
    return [len(table.splitlines()) for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)]


def headings(name):
    return [len(level) for level in re.findall(r"^(#+) ", prose_of(name), re.MULTILINE)]


def links(name):
    """Returns the links, except those from one language to the other."""
    return [link for link in LINK.findall(prose_of(name)) if link not in (ENGLISH, CHINESE)]


def test_both_languages_have_the_same_structure():
    assert headings(ENGLISH) == headings(CHINESE)
    assert BLOCK.findall(text_of(ENGLISH)) == BLOCK.findall(text_of(CHINESE))
    assert links(ENGLISH) == links(CHINESE)
    assert table_rows(prose_of(ENGLISH)) == table_rows(prose_of(CHINESE))
    assert sorted(SPAN.findall(prose_of(ENGLISH))) == sorted(SPAN.findall(prose_of(CHINESE)))
    results = [RESULTS.findall((ROOT / name).read_text(encoding="utf-8")) for name in (ENGLISH, CHINESE)]
    assert results[0] == results[1] and len(results[0]) == 1


def test_each_language_links_to_the_other():
    assert CHINESE in LINK.findall(prose_of(ENGLISH)) and ENGLISH in LINK.findall(prose_of(CHINESE))


@pytest.mark.parametrize("name", [ENGLISH, CHINESE])
def test_code_is_in_fenced_blocks(name):
    assert not re.findall(r"^(?: {4}|\t).*", prose_of(name), re.MULTILINE)


@pytest.mark.parametrize("name", [ENGLISH, CHINESE])
def test_paths_exist(name):
    paths = {link.split("#")[0] for link in LINK.findall(prose_of(name)) if "://" not in link}
    for span in SPAN.findall(prose_of(name)):
        for word in span.split():
            word = word.split("=")[-1]
            first = word.split("/")[0]
            if ("/" in word and first in ROOT_NAMES) or re.fullmatch(r"[\w.]+\.(py|sh|md|toml)", word):
                paths.add(word)
    paths = {path for path in paths if not NOT_IN_THE_REPOSITORY.search(path)}
    assert len(paths) > 30
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


def test_modules_and_scripts_exist():
    text = "\n".join([*blocks("bash"), *SPAN.findall(prose_of(ENGLISH))])
    modules = re.findall(r"python -m ([\w.]+)", text)
    assert modules and all(importlib.util.find_spec(module) for module in modules)
    programs = re.findall(r"(?:python|bash) ([\w/]+\.(?:py|sh))", text)
    assert programs and all((ROOT / program).is_file() for program in programs)
    targets = re.findall(r"^make (\w+)", text, re.MULTILINE)
    rules = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets and set(targets) <= set(rules)


def test_commands_of_newtrain_parse():
    """Leaves out the reader's own preset: a test below checks its keys."""
    assert len(commands("newtrain.py")) > 5
    for words in commands("newtrain.py"):
        parse_train([word for word in words if word not in ("--preset", "mine.yml")] if "mine.yml" in words else words)


def test_commands_of_newtest_parse():
    assert len(commands("newtest.py")) > 2
    for words in commands("newtest.py"):
        parse_test(words)


def test_commands_of_newexport_parse():
    assert commands("newexport.py")
    for words in commands("newexport.py"):
        parse_export(words)
    page = (ROOT / "docs/deployment.md").read_text(encoding="utf-8")
    lines = [shlex.split(line) for _, block in BLOCK.findall(page) for line in block.splitlines()]
    described = [words[2:] for words in lines if words[:2] == ["python", "newexport.py"]]
    assert len(described) > 4
    known = set(export_parser("sparnet")[0]._option_string_actions)
    for words in described:
        assert {word for word in words if word.startswith("--")} <= known
        if "MODEL" not in words:
            parse_export(words)


def test_the_example_preset_has_options_of_newtrain():
    preset, = (yaml.safe_load(block) for block in blocks("yaml"))
    parse_train(["--preset", preset.pop("like")])
    assert {f"--{key}" for key in preset} <= set(train_parser("sparnet")._option_string_actions)


def test_arguments_of_the_scripts_exist():
    lines = [shlex.split(line, comments=True) for block in blocks("bash") for line in block.splitlines()]
    runs = [words[1:] for words in lines if words[:1] == ["bash"]]
    assert len(runs) > 3
    for script, *arguments in runs:
        text = subprocess.run(["bash", script, "--help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        known = [word.rstrip("=") for word in text.partition("\nArguments: ")[2].split()]
        assert {argument.partition("=")[0] for argument in arguments} <= set(known)


def test_options_named_in_the_text_exist():
    known = {option for model in RECIPES
             for parser in (train_parser(model), restoring_parser(model)[0], export_parser(model)[0])
             for option in parser._option_string_actions}
    known |= {"--max-restarts"}  # torchrun's
    for span in SPAN.findall(prose_of(ENGLISH)):
        assert set(re.findall(r"--[\w-]+", span)) <= known, span


def test_the_python_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.full((16, 16, 3), 128, np.uint8)).save("face.png")
    example, = blocks("python")
    exec(compile(example, ENGLISH, "exec"), {})
    with Image.open("restored.png") as restored:
        assert (restored.size, restored.mode) == ((128, 128), "RGB")
