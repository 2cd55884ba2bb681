# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Presets: their resolved values, `like`, and invalid files."""
import json
import os

import pytest
import yaml

from options.presets import OLD_NAMES, PRESETS, preset_files, preset_names, read_preset
from options.test_options import parse_test
from options.train_options import parse_train
from tests.helpers.paths import ROOT
from utils.errors import UserError
from utils.option_types import current_word

# Values that each recipe and preset resolved to at commit f99a202, whose presets listed every value; for a preset,
# only values that differ from its recipe's. `workers` is omitted: it depends on the machine.
GOLDEN = json.loads((ROOT / "tests/fixtures/presets.json").read_text())
NEW = {"face128", "face256", "sparnet_robust"}  # presets added after f99a202
CHANGED = {"sparnet_builtin"}  # values changed since, so that `make train` ends within minutes
CASES = [("--model", name, {"model": name, "train": {}, "test": {}}) for name in GOLDEN["recipes"]] + [
    ("--preset", name, found) for name, found in GOLDEN["presets"].items() if name not in CHANGED]


@pytest.mark.parametrize("flag, name, found", CASES, ids=[case[1] for case in CASES])
def test_presets_resolve_to_what_they_were(flag, name, found):
    recipe = GOLDEN["recipes"][found["model"]]
    train = vars(parse_train([flag, name]))
    expected = {key: current_word(key, value) for key, value in (recipe["train"] | found["train"]).items()}
    assert {key: train.get(key) for key in expected} == expected
    test = vars(parse_test([flag, name, "--pth_path", "net.pth", "--gtroot", "faces"]))
    expected = recipe["test"] | found["test"]
    assert {key: test[key] for key in expected if key in test} == {
        key: value for key, value in expected.items() if key in test}
    assert expected.keys() - test.keys() <= train.keys()  # the others are options of training only


def test_presets_lie_in_folders_of_their_recipe_and_hold_only_what_differs():
    assert set(GOLDEN["presets"]) | NEW == set(preset_names()) - set(OLD_NAMES.values()) | set(OLD_NAMES)
    for name, path in preset_files().items():
        options = parse_train(["--preset", name])
        own = yaml.safe_load(path.read_text())
        assert path.parent == PRESETS / options.model and ("like" in own) != ("model" in own)
        parent = own.pop("like", None)
        default = name in [recipe["train"]["name"] for recipe in GOLDEN["recipes"].values()]
        if not default:
            without = vars(parse_train(["--preset", parent] if parent else ["--model", options.model]))
            assert [key for key, value in own.items() if without[key] == value] == ["model"] * (not parent)


def test_the_old_name_of_a_preset_goes_on_to_work():
    old, new = (vars(parse_train(["--preset", name])) for name in ("sparnet_half", "sparnet_half_width"))
    assert {key for key in old if old[key] != new[key]} == {"preset", "name"}  # so that a run of that name resumes


def write(folder, **files):
    for name, content in files.items():
        (folder / f"{name}.yml").write_text(content)
    return [str(folder / f"{name}.yml") for name in files]


def test_a_preset_is_like_another_and_its_own_lines_win(tmp_path):
    a, b = write(tmp_path, a="like: b.yml\nlr: 0.5\nsync_bn: false\n",
                 b="like: sparnet_light_attn3d\nlr: 0.25\nbatch_size: 5\nsync_bn: true\n")
    options = parse_train(["--preset", a])
    assert (options.lr, options.batch_size, options.att_name, options.lr_policy, options.name) == (
        0.5, 5, "spar3d", "cosine", "a")
    assert not options.sync_bn and parse_train(["--preset", b]).sync_bn
    assert parse_train(["--preset", a, "--lr", "1"]).lr == 1
    gpen, = write(tmp_path, c="like: gpen_embed\n")
    assert parse_train(["--preset", gpen]).model == "gpen" and read_preset(gpen)["stage"].path.stem == "gpen_embed"


@pytest.mark.parametrize("files, message", [
    ({"a": "like: b.yml\n", "b": "like: a.yml\n"}, r"b.yml: like: a leads back to itself \(a -> b -> a\); remove one"),
    ({"a": "like: sparnet_celebb\n"}, "a.yml: like: sparnet_celebb: there is no such preset.*mean sparnet_celeba"),
    ({"a": "like: gone.yml\n"}, "a.yml: like: gone.yml: there is no such file"),
    ({"a": "model: gpen\nlike: sparnet_celeba\n"}, "a.yml: model: gpen, but it is like sparnet_celeba, which is"),
    ({"a": "like: b.yml\n", "b": "batchsize: 3\n"}, r"b.yml: unknown option 'batchsize'\. Did you mean batch_size\?"),
    ({"a": "batch_size: many"}, "a.yml: batch_size: invalid int value: 'many'"),
    ({"a": "dataroot: [1, 2]"}, "a.yml: dataroot: one value is expected, not a list"),
    ({"a": "lr_decay_at: [0.5, --lr, 3]"}, "a.yml: lr_decay_at: a value must not begin with --"),
    ({"a": "augmentation: much"}, "a.yml: augmentation: invalid choice: 'much'"),
    ({"a": "sync_bn: perhaps"}, "a.yml: sync_bn: 'perhaps' is neither true nor false"),
    ({"a": "1: 2"}, "a.yml: unknown option '1'"), ({"a": "model: [a]"}, "a.yml: model: one value is expected"),
    ({"a": "help: true"}, "a.yml: unknown option 'help'"), ({"a": "name: -\n"}, "a.yml, line 1"),
    ({"a": "- a\n- b"}, "a.yml, line 1: `option: value` lines are expected"),
    ({"a": "lr: 1\na: ["}, "a.yml, line 2: cannot be read as YAML"), ({"a": "# nothing"}, "a.yml: .*the file is empty"),
    ({"a": "lr: 1\nname: a\nlr: 2"}, "a.yml, line 3: lr is set a second time, after line 1"),
    ({"a": "name: !!python/object/apply:os.getcwd []"}, "a.yml, line 1: tags such as tag:yaml.org,2002:python"),
    ({"a": "name: ! x"}, "a.yml, line 1: tags such as !"),
    ({"a": "a: &x [1, 1]\nb: [*x, *x]"}, "a.yml, line 1: anchors and aliases"),
    ({"a": "lr: 1\nname: *x"}, "a.yml, line 2: anchors and aliases"),
    ({"a": "name: " + "[" * 3000}, "a.yml, line 1: name: one value or a flat list of values is expected"),
    ({"a": "name:\n  a: 1"}, "a.yml, line 2: name: one value or a flat list"),
    ({"a": "lr: 1\n---\nlr: 2"}, "a.yml, line 2: a second document"),
    ({"a": "lr: 1\nname: a\0b"}, r"a.yml, line 2: the character U\+0000 is not allowed"),
    ({"a": r'name: "a\nb"'}, r"a.yml: name: 'a\\nb' contains the control character U\+000A"),
    ({"a": r'name: "\ud800"'}, r"a.yml: name: .* contains the control character U\+D800"),
    ({"a": "name:\n"}, "a.yml, line 1: name: the value is empty"), ({"a": "name: ''"}, "a.yml, line 1: name: .*empty"),
    ({"a": "name: '  '"}, "a.yml, line 1: name: the value is empty"),
    ({"a": "lr_decay_at: []\nlr_policy: step"}, "a.yml: lr_decay_at: expected at least one argument"),
    ({"a": "name: --"}, "a.yml: name: '--name=--': -- is not a value"),
    ({"a": "lr: 1_000"}, "a.yml: lr: invalid float value: '1_000'"), ({"a": "seed: 0x1F"}, "a.yml: seed: invalid int"),
    ({"a": "lr: .inf"}, "a.yml: lr: invalid float value"),
    ({"a": "batch_size: 1" + "0" * 80}, "a.yml: batch_size: 1000.* is above 65536"),
    ({"a": "preset: gpen_blind\nlr: 1"}, "a.yml: preset: a preset takes another's values by `like: gpen_blind`"),
    ({"a": "<<: sparnet_celeba"}, "a.yml: unknown option '<<'"),
    ({"a": "name: " + "x" * 300_000}, "a.yml: it has 300,006 bytes; such a file has 262,144 at most")])
def test_wrong_preset_files_are_one_clear_line(tmp_path, files, message):
    path, *_ = write(tmp_path, **files)
    with pytest.raises(UserError, match=message) as error:
        parse_train(["--preset", path])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["001", "12:30", "on", "3.10", "0x1F", "1_000", "no", "~", "2020-13-45", "2020-01-02",
                                  ".inf", "1e3", "True", "'null'", "=", "0b11", "a b", "中文", "a:b"])
@pytest.mark.parametrize("ends, encoding", [("\n", "utf-8"), ("\r\n", "utf-8-sig")])
def test_text_options_take_the_text_as_it_is_written(tmp_path, text, ends, encoding):
    path = tmp_path / "a.yml"
    path.write_bytes(f"# 说明{ends}name: {text}{ends}seed: 010{ends}lr: 1e-4{ends}sync_bn: on{ends}".encode(encoding))
    options = parse_train(["--preset", str(path)])
    assert (options.name, options.seed, options.lr, options.sync_bn) == (text.strip("'"), 10, 1e-4, True)
    path.write_bytes(f"name: {text}{ends}valroot: null{ends}".encode(encoding))
    assert parse_train(["--preset", str(path)]).valroot is None


def test_a_preset_is_read_as_utf_8_in_every_locale_and_as_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.yml"
    monkeypatch.setattr("locale.getpreferredencoding", lambda *_: "gbk")
    path.write_bytes("name: ok\ndataroot: 中文\n".encode())
    assert parse_train(["--preset", str(path)]).dataroot == "中文"
    for encoding in ("gbk", "utf-16"):
        path.write_bytes("name: ok\ndataroot: 中文\n".encode(encoding))
        with pytest.raises(UserError, match="a.yml, line [12]: the file is not UTF-8 text. Save it as UTF-8.$"):
            parse_train(["--preset", str(path)])


@pytest.mark.parametrize("name, message", [
    ("x" * 5000, "5000 characters; at most 4096"), ("x" * 4000 + ".yml", "cannot be read: File name too long"),
    ("a\0.yml", "control character"), (".", "no such preset"), ("pipe.yml", "it is a device, named pipe"),
    ("folder.yml", "it is a folder"), ("", "the value is empty")])
def test_what_is_no_preset_file_is_one_clear_line(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.yml")
    os.mkdir("folder.yml")
    with pytest.raises(UserError, match=message) as error:
        parse_train(["--preset", name])
    assert "\n" not in str(error.value) and len(str(error.value)) < 2000


def test_values_of_presets_are_checked_and_lists_pass(tmp_path):
    path, = write(tmp_path, mine="lr_decay_at: [0.2, 0.4]\nlr_policy: step\ncontinue_train: true\ncombine_grad: false\n"
                                 "loss_scale: dynamic\n")
    options = parse_train(["--preset", path])
    assert (options.lr_decay_at, options.continue_train, options.combine_grad, options.loss_scale) == (
        [0.2, 0.4], True, False, "dynamic")


def test_every_preset_parses_and_the_command_line_wins():
    for name in preset_names():
        for words in (["--preset", name, "--batch_size", "5"], ["--batch_size=5", f"--preset={name}"]):
            assert parse_train(words).batch_size == 5
