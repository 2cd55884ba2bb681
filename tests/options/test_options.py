# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Options: the published defaults, presets, names of runs, and error messages."""
import pytest
import yaml

from models import build_recipe
from models.weights import count_parameters
from options.presets import preset_files, read_preset
from options.test_options import parse_test
from options.train_options import parse_train, train_parser
from tests.helpers.paths import ROOT
from utils.errors import UserError

# Source: the published run of SPARNet's ModelZoo port.
SEED_CONFIGURATION = {
    "name": "SPARNet_S16_V4_Attn2D", "model": "sparnet", "Gnorm": "bn", "lr": 0.0002, "beta1": 0.9, "beta2": 0.99,
    "scale_factor": 8, "load_size": 128, "dataroot": "../celeba_crop_train", "dataset_name": "celeba",
    "batch_size": 32, "total_epochs": 20, "visual_freq": 100, "print_freq": 10, "save_latest_freq": 500,
    "res_depth": 10, "att_name": "spar", "bottleneck_size": 4, "loss_scale": 128.0, "combine_grad": True,
    "lr_policy": "constant", "lambda_pix": 1.0, "ema_decay": 0, "continue_train": False,
}


def test_bare_newtrain_is_the_seed_configuration():
    options = vars(parse_train([]))
    assert {key: options[key] for key in SEED_CONFIGURATION} == SEED_CONFIGURATION
    assert count_parameters(build_recipe(parse_train([])).networks["G"]) == pytest.approx(10.519e6, abs=1e3)


@pytest.mark.parametrize("flag, name", [
    ("--data_url", "dataroot"), ("--data_path", "dataroot"), ("--dataroot", "dataroot"),
    ("--train_url", "checkpoints_dir"), ("--output_path", "checkpoints_dir"), ("--pth_path", "pretrain_model_path"),
])
def test_platform_names_of_flags(flag, name):
    assert getattr(parse_train([f"{flag}=a b'c"]), name) == "a b'c"


def test_a_recipe_brings_its_defaults_and_all_else_wins_over_them(tmp_path):
    preset = {key: value for key, (value, _) in read_preset(preset_files()["sparnethd_ffhq"]).items()}
    options = parse_train(["--model", "sparnethd"])
    assert {key: type(getattr(options, key))(text) for key, text in preset.items()} == {
        key: getattr(options, key) for key in preset}
    assert parse_train(["--model", "sparnethd", "--lr", "0.5"]).lr == 0.5
    own = tmp_path / "own.yml"
    own.write_text("model: sparnethd\nlr: 0.25\n")
    options = parse_train(["--preset", str(own)])
    assert (options.lr, options.d_lr, options.Gnorm) == (0.25, 0.0004, "in")
    (tmp_path / "options.yml").write_text("model: sparnethd\nload_size: 64\nD_ch: 8\n")  # for newtest.py
    options = parse_test(["--pth_path", str(tmp_path / "net.pth"), "--gtroot", "x"])
    assert (options.load_size, options.Gnorm, options.batch_size) == (64, "in", 16)


def test_runs_are_named_after_their_preset_and_scores_after_the_weights(tmp_path):
    own = tmp_path / "own.yml"
    own.write_text("lr: 0.25\n")
    for words, name in ((["--model", "gpen"], "gpen_blind"), (["--preset", "gpen_embed"], "gpen_embed"),
                        (["--preset", str(own)], "own"), (["--preset", str(own), "--name", "mine"], "mine")):
        assert parse_train(words).name == name
    run = tmp_path / "a run"
    run.mkdir()
    (run / "options.yml").write_text("model: sparnet\nname: other\n")
    for words, name in ((["--pth_path", str(run / "best_net_G.pth")], "a run"),
                        (["--pth_path", str(tmp_path / "SPARNet-V16.pth")], "SPARNet-V16"),
                        (["--pretrained", "sparnet"], "sparnet"), (["--pretrained", "sparnet", "--name", "a"], "a")):
        assert parse_test([*words, "--gtroot", "x"]).name == name


def test_presets_build_the_networks_they_name():
    light = build_recipe(parse_train(["--preset", "sparnet_light_attn3d"])).networks["G"]
    assert count_parameters(light) == pytest.approx(5.242e6, abs=1e3)


@pytest.mark.parametrize("words, message", [
    (["a.png"], "unexpected argument a.png: it belongs to no option"),
    (["--batch_sise", "3"], r"unknown option --batch_sise\. Did you mean --batch_size\?"),
    (["--lr=fast"], "argument --lr: "),
    (["--total_epochs", "0"], "argument --total_epochs: 0 is below 1"),
    (["--train_steps", "-1"], "argument --train_steps: -1 is below 1"),
    (["--batch_size", "0"], "argument --batch_size: 0 is below 1"),
    (["--opt_level", "O3"], "invalid choice: 'O3'"),
    (["--loss_scale", "big"], "argument --loss_scale: "),
    (["--loss_scale", "0"], "argument --loss_scale: "),
    (["--model", "sparnett"], "unknown model 'sparnett'.*sparnet"),
    (["--preset", "sparnet_celebb"], r"no such preset.*Did you mean sparnet_celeba\?"),
    (["--preset", "../presets/sparnet_celeba"], "no such preset"),
    (["--combine_grad", "perhaps"], "neither true nor false"),
    (["--valroot", "x", "--val_count", "3"], "contradict each other"),
    (["--model", "fsrnet", "--preset", "gpen_blind"], "--model fsrnet and --preset gpen_blind, which is for gpen"),
    (["--lr_policy", "step", "--lr_decay_at", "50", "75"], "argument --lr_decay_at: 50 is above 1"),
    (["--lr_gamma=0.1"], r"--lr_gamma is not read here: --lr_policy is constant, only step reads it\. Leave"),
    (["--lr_policy", "step", "--lr_final", "0.1"],
     "--lr_final is not read here: --lr_policy is step, only cosine and linear read it"),
    (["--seed", str(2**64)], "argument --seed: .* is above"),
])
def test_wrong_options_are_one_clear_line(words, message):
    with pytest.raises(UserError, match=message) as error:
        parse_train(words)
    assert error.value.status == 2 and "\n" not in str(error.value)


def test_help_is_grouped():
    text = train_parser("sparnet").format_help()
    for title in ("what is run, and where", "data", "length and learning rate", "mixed precision",
                  "network of recipe sparnet", "training of recipe sparnet"):
        assert f"\n{title}" in text


def test_newtest_takes_the_network_from_beside_the_weights(tmp_path):
    (tmp_path / "options.yml").write_text("res_depth: 3\nbatch_size: 99\nload_size: 64\nlr: 0.1\n")
    words = ["--pth_path", str(tmp_path / "best_net_G.pth"), "--gtroot", "x"]
    options = parse_test(words)
    assert (options.res_depth, options.load_size, options.batch_size) == (3, 64, 16)
    assert parse_test([*words, "--res_depth", "4"]).res_depth == 4
    assert parse_test([*words, "--preset", "sparnet_light_attn3d"]).att_name == "spar3d"
    with pytest.raises(UserError, match="nothing to do"):
        parse_test(words[:2])


@pytest.mark.parametrize("recipe", ["sparnet", "sparnethd", "fsrnet", "gpen"])
def test_options_of_runs_of_an_earlier_version_still_load(recipe):
    """Loads them beside weights, where newtest.py skips options that it lacks, and as a preset."""
    folder = ROOT / "tests/fixtures/checkpoints" / recipe
    before = yaml.safe_load((folder / "options.yml").read_text())
    for options in (parse_test(["--pth_path", str(folder / "latest_net_G.pth"), "--dataroot", "x"]),
                    parse_train(["--preset", str(folder / "options.yml"), "--continue_train"])):
        assert options.model == recipe and options.degradation is None
        for name in ("load_size", "dataset_name", "scale_factor", "priors"):
            assert getattr(options, name) == before[name]


@pytest.mark.parametrize("words, protocols", [
    ([], ["sparnet", "benchmark", "rgb"]), (["--dataset_name", "colorization"], ["rgb"]),
    (["--dataset_name", "colorization", "--protocols", "sparnet"], ["sparnet"])])
def test_colorization_is_scored_in_colour(words, protocols):
    words = ["--pth_path", "net.pth", "--preset", "gpen_blind", "--gtroot", "faces", *words]
    assert parse_test(words).protocols == protocols
