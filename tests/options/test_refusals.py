# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Errors for unknown options and for options that nothing reads."""
import re

import pytest
import yaml

from models import RECIPES, find_recipe_options
from options.base_options import Parser
from options.suggestions import SYNONYMS, suggest
from options.test_options import parse_test
from options.test_options import test_parser as restoring_parser
from options.train_options import parse_train, train_parser
from tests.helpers.paths import ROOT
from utils.errors import UserError

TRAINING_ONLY = {"trainer.py", "run_folder.py", "state.py", "schedule.py"}  # in engine/, not run by newtest.py


def flags(parser):
    return {flag for action in parser._actions for flag in action.option_strings}


@pytest.mark.parametrize("flag, meant", [
    ("--resume", "continue_train"), ("--gpu", "device"), ("--epochs", "total_epochs"), ("--bs", "batch_size"),
    ("--batch", "batch_size"), ("--learning_rate", "lr"), ("--learning-rate", "lr"), ("--out", "checkpoints_dir"),
    ("--data", "dataroot"), ("--weights", "pth_path"), ("--ckpt", "pth_path"), ("--checkpoint", "pth_path"),
    ("--steps", "train_steps"), ("--iters=3", "train_steps"), ("--batch-size", "batch_size"), ("--gtroot", "valroot"),
    ("--Beta1", "beta1"), ("--load_sise=3", "load_size")])
def test_an_unknown_option_leads_to_the_one_that_was_meant(flag, meant):
    with pytest.raises(UserError, match=f"unknown option {flag.split('=')[0]}. Did you mean --{meant}[?]"):
        parse_train([flag])


@pytest.mark.parametrize("flag", ["--frobnicate", "--colour", "--x", "--tokens=3"])
def test_what_is_not_near_is_not_suggested(flag):
    with pytest.raises(UserError, match=f"unknown option {flag.split('=')[0]}[.]$"):
        parse_train([flag])


def test_only_options_that_a_program_has_are_suggested():
    train, test = (flags(parser) for parser in (train_parser("gpen"), restoring_parser("gpen")[0]))
    for meant in (name for names in SYNONYMS.values() for name in names.split()):
        assert f"--{meant}" in train | test, meant
    assert suggest("--out", test) == " Did you mean --results_dir?" and suggest("--epochs", test) == ""
    for program, names in ((train, SYNONYMS), (test, SYNONYMS)):
        assert {suggest(f"--{name}", program).split()[-1][:-1] for name in names if suggest(f"--{name}", program)
                } <= program


@pytest.mark.parametrize("words, message", [
    ("--model fsrnet --beta1 0.5", "--beta1 is not read here: --optimizer is rmsprop, only adam reads it. Leave"),
    ("--model fsrnet --D_ch 8", "--D_ch is not read here: --lambda_g is 0, which leaves the discriminator out"),
    ("--model fsrnet --pretrain_d_path x", "--pretrain_d_path is not read here: --lambda_g is 0"),
    ("--preset gpen_prior --lambda_fm 1", "--lambda_fm is not read here: --stage prior trains with the adversarial"),
    ("--model gpen --stage prior --arcface_path x", "--arcface_path is not read here: --stage prior trains with"),
    ("--model gpen --lambda_r1 0 --r1_every 3", "--r1_every is not read here: --lambda_r1 is 0"),
    ("--model gpen --lambda_path 0 --path_every=3", "--path_every is not read here: --lambda_path is 0"),
    ("--model sparnethd --lambda_pcp 0 --vgg19_path x", "--vgg19_path is not read here: --lambda_pcp is 0"),
    ("--pcp_path x", "--pcp_path is not read here: --lambda_pcp is 0"),
    ("--preset gpen_blind --keep_luma", "--keep_luma is not read here: it is for --dataset_name colorization"),
    ("--preset gpen_colorization --degradation gpen --keep_luma", "--keep_luma is not read here"),
    ("--preset gpen_prior --dataset_name colorization --keep_luma", "--keep_luma is not read here"),
    ("--D_ch 8", "--D_ch is not read here: --lambda_g is 0, which leaves the discriminator out"),
    ("--lr_gamma=0.1", "--lr_gamma is not read here: --lr_policy is constant, only step reads it. Leave out"),
    ("--lr_policy step --lr_final 0.1", "--lr_final is not read here: --lr_policy is step, only cosine and linear"),
    ("--cache_folder x", "--cache_folder is not read here: --dataset_name celeba resizes"),
    ("--priors both", "--priors is not read here: --dataset_name celeba has no facial priors"),
    ("--model sparnethd --scale_factor 4", "--scale_factor is not read here"),
    ("--opt_level O0 --amp_dtype float16", "--amp_dtype is not read here: --opt_level is O0, which computes"),
    ("--loss_scale dynamic --opt_level=O0", "--loss_scale is not read here: --opt_level is O0"),
    ("--val_max 5", "--val_max is not read here: without --valroot or --val_count nothing is validated on"),
    ("--val_protocol rgb --val_count 0", "--val_protocol is not read here"),
    ("--val_batch_size 2", "--val_batch_size is not read here"),
    ("--model sparnet --D_layers 3", "unknown option --D_layers"),
    ("--model sparnet --r1_every 3", "unknown option --r1_every")])
def test_what_this_training_does_not_read_is_refused(words, message):
    with pytest.raises(UserError, match=message) as error:
        parse_train(words.split())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("words", [
    "--model fsrnet --optimizer adam --beta1 0.5", "--preset gpen_builtin --stage prior", "--preset gpen_prior",
    "--model gpen --stage prior --lambda_id 0", "--preset fsrnet_builtin --optimizer rmsprop",
    "--preset sparnethd_builtin --lr_policy constant", "--preset sparnethd_ffhq --lambda_pcp 0"])
def test_what_a_preset_brings_is_not_refused(words):
    parse_train(words.split())


def test_what_a_file_sets_for_other_calls_is_not_refused(tmp_path):
    (tmp_path / "mine.yml").write_text("val_max: 5\nval_protocol: rgb\namp_dtype: bfloat16\nloss_scale: dynamic\n")
    parse_train(["--preset", str(tmp_path / "mine.yml"), "--opt_level", "O0"])


@pytest.mark.parametrize("words, message", [
    ("--gtroot x --amp_dtype float16", "--amp_dtype is not read here: --opt_level is O0"),
    ("--dataroot x --protocols rgb", "--protocols is not read here: without --gtroot nothing is scored")])
def test_what_newtest_does_not_read_is_refused(words, message):
    with pytest.raises(UserError, match=message):
        parse_test(["--pretrained", "sparnet", *words.split()])


def test_what_somebody_wrote_in_a_preset_is_refused_as_well(tmp_path):
    path = tmp_path / "mine.yml"
    for content, message in (("like: gpen_prior\nlambda_fm: 1\n", "mine.yml: lambda_fm is not read here: --stage"),
                             ("like: sparnet_celeba\nlr_gamma: 0.1\n", "mine.yml: lr_gamma is not read here: --lr")):
        path.write_text(content)
        with pytest.raises(UserError, match=message + ".*Remove that line, or change that"):
            parse_train(["--preset", str(path)])
    path.write_text("like: gpen_builtin\nstage: prior\n")
    parse_train(["--preset", str(path)])
    for preset in ("gpen_prior", "fsrnet_celebamask", "sparnethd_256_small"):  # a run's options.yml lists all options
        path.write_text(yaml.safe_dump(vars(parse_train(["--preset", preset]))))
        parse_train(["--preset", str(path), "--continue_train"])


@pytest.mark.parametrize("model", RECIPES)
def test_newtest_has_no_option_of_the_training(model):
    training = Parser()
    find_recipe_options(model).add_training_options(training)
    restoring = {action.dest for action in restoring_parser(model)[0]._actions} - {"help"}
    assert not restoring & {action.dest for action in training._actions}
    for action in training._actions[1:]:
        with pytest.raises(UserError, match=f"unknown option --{action.dest}: newtrain.py reads it in a training"):
            parse_test(["--model", model, f"--{action.dest}=1"])
    with pytest.raises(UserError, match="unknown option --lr: newtrain.py reads it"):
        parse_test(["--lr", "3"])


@pytest.mark.parametrize("model", RECIPES)
def test_every_option_is_read_by_something(model):
    """Searches the sources that the program may run for o.NAME, options.NAME or getattr with "NAME"."""
    folders = [ROOT / name for name in ("models", "data", "engine", "metrics", "restore", "utils")]
    files = [path for folder in folders for path in folder.rglob("*.py")]
    for parser, left_out in ((train_parser(model), {"tester.py", "evaluation_set.py"}),
                             (restoring_parser(model)[0], TRAINING_ONLY)):
        text = "\n".join(path.read_text() for path in files if path.name not in left_out)
        dests = {action.dest for action in parser._actions} - {"help", "preset", "pretrained"}  # options/ reads these
        unread = [dest for dest in dests if not re.search(rf"\b(o|options)\.{dest}\b|getattr\(\w+, \"{dest}\"", text)]
        assert unread == []


@pytest.mark.parametrize("model", RECIPES)
def test_each_help_text_stands_alone(model):
    """A help text states its default and starts with what the option is, not with words that refer to another line."""
    for parser in (train_parser(model), restoring_parser(model)[0]):
        text = parser.format_help()
        for action in parser._actions[1:]:
            assert len(action.help) > 20 and not action.help.startswith(("of ", "a ", "the ", "as ")), action.dest
            if action.default is None or action.default is False:
                assert "default: " in action.help, action.dest
        assert re.search(r"default: (0\.9|0|0\.5)\)", text) or "beta1" not in text
