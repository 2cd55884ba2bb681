# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Every number has bounds, every text is refused if it is empty, and hostile arguments give one line."""
import re

import pytest

from models import RECIPES, build_training_recipe
from options.export_options import export_parser, parse_export
from options.test_options import parse_test
from options.test_options import test_parser as restoring_parser
from options.train_options import parse_train, train_parser
from restore.description import describe
from restore.restorer import Restorer
from tests.helpers.paths import ROOT
from tests.helpers.runs import TINY
from utils.errors import UserError
from utils.option_types import Parser

NO_NUMBERS = ["nan", "inf", "-inf", "1e400", "1" + "0" * 40, "-1e300", "1e308", "-1", "9" * 5000, "1_0", "0x1F", "٣",
              "", " 5", "1e", "--", "1\n2", "\ud800"]
NO_TEXTS = ["", " ", "a\0b", "a\nb", "\x7f", "x" * 5000, "\ud800"]
NUMBERS = ("int", "float", "loss_scale", "list")


def parsers(model):
    return train_parser(model), restoring_parser(model)[0], export_parser(model)[0]


@pytest.mark.parametrize("model", RECIPES)
def test_every_number_is_bounded_and_every_text_has_content(model):
    checked = set()
    for parser in parsers(model):
        for action in parser._actions:
            flag = action.option_strings[-1]
            if action.nargs == 0:
                continue
            checked.add(flag)
            for value in NO_NUMBERS if getattr(action.type, "__name__", "") in NUMBERS else NO_TEXTS:
                with pytest.raises(UserError) as error:
                    parser.parse_args([f"{flag}={value}"])
                assert "\n" not in str(error.value) and len(str(error.value)) < 700, (flag, value)
    assert len(checked) > 50


def test_no_parser_of_the_project_goes_without_these_checks():
    """Searches for argparse's own parser and for its unbounded types; utils/modelarts.py passes its words on."""
    for path in ROOT.rglob("*.py"):
        inside = path.relative_to(ROOT).parts
        if inside[0].startswith(".") or inside[0] == "tests" or inside[-1] in ("option_types.py", "modelarts.py"):
            continue
        text = path.read_text(encoding="utf-8")
        assert not re.findall(r"argparse\.ArgumentParser\(|\btype=(?:int|float|str|Path)\b", text), path


@pytest.mark.parametrize("words", [
    ["--model=--"], ["--"], ["--", "--lr"], ["--name", "--"], ["--name="], ["--pth_path="], ["--preset="],
    ["--name", ""], ["--dataroot", ""], ["--x\ny"], ["--" + "x" * 5000], ["x" * 5000], ["\ud800"],
    ["--name=\udcff\n"], ["--lr"],
    ["--loss_scale", "1e300", "--opt_level", "O2"], ["--lr_policy", "step", "--lr_gamma", "1e308"],
    ["--lr_policy", "step", "--lr_gamma", "1000", "--lr", "1e30"], ["--min_ch", "1000000"], ["--res_depth", "10000000"],
    ["--lr_policy", "step", "--lr_decay_at", *["0.5"] * 200], ["--model", "x" * 4000], ["--dataset_name", "y" * 4000],
    ["--batch_size", "1000000000"], ["--load_size", "1000000"], ["--opt_level", "z" * 4000], ["--preset", "a" * 5000],
    ["--degradation", "q"]], ids=lambda words: " ".join(words)[:30].encode("ascii", "replace").decode())
def test_hostile_arguments_are_one_clear_line(words):
    for parse in (parse_train, parse_test, parse_export):
        with pytest.raises(UserError) as error:
            parse(words)
        assert "\n" not in str(error.value) and len(str(error.value)) < 6000


@pytest.mark.parametrize("words", [
    ["--max_ch", "4096", "--min_ch", "4096"], ["--model", "gpen", "--narrow", "64", "--lambda_id", "0"],
    ["--model", "fsrnet", "--width", "4096"],
    ["--model", "sparnethd", "--D_ch", "4096", "--D_max_ch", "4096", "--lambda_pcp", "0", "--res_depth", "1"]])
def test_a_network_beyond_the_limit_is_refused_before_it_is_built(words):
    with pytest.raises(UserError, match=r"networks of these options have [\d,]{13,} parameters; 1,000,000,000 are the"):
        build_training_recipe(parse_train(words))


def test_a_description_of_a_huge_network_is_refused(tmp_path):
    (tmp_path / "w.pth").write_bytes(b"")
    with pytest.raises(UserError, match="parameters; 1,000,000,000 are the limit"):
        Restorer.load(tmp_path / "w.pth", "cpu", description=describe({"min_ch": "4096", "max_ch": 4096}))
    for values in ({"load_size": "1" + "0" * 30}, {"load_size": "12.5"}, {"res_depth": "1e9"}, {"residual": "maybe"},
                   {"dataset_name": ["celeba"]}, {"min_ch": ["1"]}, {"model": ""}, {"load_size": float("inf")}):
        if values == {"model": ""}:
            assert describe(values).model == "sparnet"  # unset
            continue
        with pytest.raises(UserError) as error:
            describe(values, "options.yml")
        assert str(error.value).startswith("options.yml: ")


def test_honest_values_pass():
    words = ["--save_iter_freq", str(10 ** 9), "--lr", "1e-4", "--seed", str(2 ** 63 - 1), "--loss_scale", "65536",
             "--train_steps", str(10 ** 7), "--batch_size", "4096", "--lambda_pix", "1e4", "--beta1", ".5",
             "--lr", "1.", "--workers", "128", "--name", "名字 a'b", "--dataroot", "/x/\udcff", "--device_id", "15"]
    options = parse_train([*TINY, *words])
    assert (options.lr, options.beta1, options.name, options.loss_scale) == (1.0, 0.5, "名字 a'b", 65536)
    assert isinstance(train_parser("sparnet"), Parser)
