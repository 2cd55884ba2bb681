# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The Restorer: same images as newtest.py, from arrays; descriptions of weights; refused input."""
import json
import threading

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from data.drawn.builtin_faces import draw_face
from data.drawn.builtin_faces import write_faces as draw_faces
from models import build_recipe, build_training_recipe
from options.train_options import parse_train
from restore.description import Description, describe, read_description
from restore.restorer import Restorer
from tests.helpers.faces import write_faces
from tests.helpers.runs import TINY, restore
from utils import pretrained
from utils.errors import UserError


def pictures(folder):
    """Returns the images below a folder, sorted by name."""
    return [np.asarray(Image.open(path)) for path in sorted(folder.rglob("*.png"))]


def test_arrays_of_any_sizes_become_what_newtest_writes(tmp_path, weights):
    """Restores batches of three and one: images smaller, larger, wider and higher than the input size."""
    for place, size in enumerate([(4, 4), (40, 44), (33, 20), (32, 32)]):
        write_faces(tmp_path / "faces" / str(place), 1, size=size, first_seed=place)
    folder = restore(tmp_path, weights[0], "--dataroot", tmp_path / "faces", "--batch_size", 3)
    restorer = Restorer.load(weights[0], "cpu", batch_size=3)
    restored = restorer(pictures(tmp_path / "faces"))
    assert all(np.array_equal(a, b) for a, b in zip(restored, pictures(folder / "restored"), strict=True))
    assert (restorer.task, restorer.input_size, restorer.scale_factor) == ("celeba", 32, 8)
    assert restorer([]) == []
    one = restorer(np.stack(pictures(tmp_path / "faces" / "0")))  # one array of several images is accepted
    assert np.abs(one[0].astype(int) - restored[0]).max() <= 1  # another batch size


@pytest.mark.parametrize("task", ["colorization", "seg2face", "inpainting"])
def test_each_task_prepares_arrays_as_it_prepares_files(tmp_path, weights, task):
    draw_faces(tmp_path / "set", 3, 0, 48)
    with open(tmp_path / "options.yml", "a") as file:
        file.write(f"dataset_name: {task}\n")
    inputs = tmp_path / "set" / ("masks" if task == "seg2face" else "images")
    folder = restore(tmp_path, weights[0], "--dataroot", inputs)
    restorer = Restorer.load(weights[0], "cpu")
    restored = restorer(pictures(inputs))
    assert restorer.task == task and len(restored) == 3
    assert all(np.array_equal(a, b) for a, b in zip(restored, pictures(folder / "restored"), strict=True))
    if task == "colorization":  # the input's colour is removed
        assert np.ptp(restorer.prepare(pictures(inputs)), axis=3).max() == 0
    if task == "seg2face":  # a photograph is not a parsing map
        with pytest.raises(UserError, match="image 1: not a map of face parts"):
            restorer([pictures(inputs)[0], draw_face(0, 48).image])


def test_threads_get_what_one_caller_gets():
    """Four threads call one tied FSRNet, which changes its network while it restores."""
    torch.manual_seed(0)
    description = describe({"model": "fsrnet", "load_size": 32, "tied": True, "width": 8, "enc_blocks": 1,
                            "hourglasses": 1, "hmaps_ch": 0, "pmaps_ch": 2})
    recipe = build_recipe(description.options())
    recipe.networks["G"].eval()
    restorer = Restorer(recipe, torch.device("cpu"), description, batch_size=2)
    images = [[draw_face(4 * thread + i, size).image for i, size in enumerate((32, 48, 40))] for thread in range(4)]
    wanted = [restorer(faces) for faces in images]
    found = [[] for _ in images]

    def work(thread):
        for _ in range(5):
            found[thread].append(restorer(images[thread]))
    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for expected, results in zip(wanted, found, strict=True):
        assert len(results) == 5
        assert all(np.array_equal(a, b) for result in results for a, b in zip(expected, result, strict=True))


@pytest.mark.parametrize("precision, words", [
    ("O1", ["--opt_level", "O1"]), ("bfloat16", ["--opt_level", "O2", "--amp_dtype", "bfloat16"]), ("float32", [])])
def test_precision_is_that_of_newtest(tmp_path, weights, precision, words):
    faces = write_faces(tmp_path / "faces", 2)
    folder = restore(tmp_path, weights[0], "--dataroot", faces, *words)
    restored = Restorer.load(weights[0], "cpu", precision)(pictures(faces))
    assert all(np.array_equal(a, b) for a, b in zip(restored, pictures(folder / "restored"), strict=True))


def test_shipped_weights_load_by_name_and_say_where_they_come_from():
    restorer = Restorer.load("sparnet", device="cpu")
    face = draw_face(0, 32).image
    assert restorer([face])[0].shape == (128, 128, 3)
    described = restorer.description
    assert (described.task, described.input_size, described.scale_factor, described.alignment) == (
        "celeba", 128, 8, "celeba")
    assert "non-commercial" in described.licence and described.commit == "95dbf12" and "CelebA" in described.data
    assert round(restorer.parameters / 1e6, 3) == 1.315
    beside = read_description(pretrained.find_pretrained("sparnet").with_name("generator.pth"))  # reads options.yml
    assert beside == Description(**{**vars(described), **dict.fromkeys(("alignment", "commit", "data", "licence"))})


def test_a_description_survives_the_file(tmp_path):
    described = describe({"model": "gpen", "load_size": 64, "narrow": 0.25, "dataset_name": "colorization"})
    described = Description(**{**vars(described), "licence": "any use", "alignment": "ffhq"})
    save_file({"x": torch.zeros(1)}, tmp_path / "w.safetensors", described.metadata())
    assert read_description(tmp_path / "w.safetensors") == described
    assert vars(described.options())["narrow"] == 0.25 and described.arguments["stage"] == "full"


def test_metadata_wins_over_options_beside_and_newtest_reads_it(tmp_path, weights):
    path, net = weights
    described = read_description(path)
    target = tmp_path / "released" / "w.safetensors"
    target.parent.mkdir()
    state = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
    save_file(state, target, described.metadata())
    (target.parent / "options.yml").write_text("min_ch: 64\nload_size: 128\n")
    faces = write_faces(tmp_path / "faces", 2)
    folder = restore(tmp_path, target, "--dataroot", faces)
    restored = Restorer.load(target, "cpu")(pictures(faces))
    assert restored[0].shape == (32, 32, 3)
    assert all(np.array_equal(a, b) for a, b in zip(restored, pictures(folder / "restored"), strict=True))


def test_what_cannot_be_loaded_is_one_clear_line(tmp_path, weights):
    (tmp_path / "alone").mkdir()
    torch.save(weights[1].state_dict(), tmp_path / "alone" / "w.pth")
    for name, message in (("spranet", "no such weights.*Did you mean sparnet"), ("gone.pth", "no such weights file"),
                          (tmp_path / "gone", "no such weights file"), (tmp_path / "alone", "is a folder"),
                          (tmp_path / "alone" / "w.pth", "nothing says which network.*options.yml.*--preset")):
        with pytest.raises(UserError, match=message) as error:
            Restorer.load(name, "cpu")
        assert "\n" not in str(error.value) and "Traceback" not in str(error.value)
    with pytest.raises(UserError, match="precision 'floot16'.*Did you mean float16"):
        Restorer.load(weights[0], "cpu", "floot16")
    with pytest.raises(UserError, match="unknown device"):
        Restorer.load(weights[0], "gpu")
    # The description argument replaces a missing description.
    described = read_description(weights[0])
    assert Restorer.load(tmp_path / "alone" / "w.pth", "cpu", description=described).input_size == 32


def test_a_prior_that_makes_faces_restores_none(tmp_path):
    words = ["--model", "gpen", "--stage", "prior", "--load_size", "16", "--narrow", "0.05", "--style_dim", "8",
             "--lambda_id", "0", *TINY[-4:]]
    recipe = build_training_recipe(parse_train([*words, "--dataroot", "unused"]))
    torch.save(recipe.networks["G"].state_dict(), tmp_path / "w.pth")
    (tmp_path / "options.yml").write_text("model: gpen\nstage: prior\nload_size: 16\nnarrow: 0.05\nstyle_dim: 8\n"
                                          "channel_multiplier: 2\n")
    with pytest.raises(UserError, match="generate faces and do not restore any"):
        Restorer.load(tmp_path / "w.pth", "cpu")


@pytest.mark.parametrize("change, message", [
    ({"input": None}, "cannot be read as a description"),
    ({"input": "{}"}, "cannot be read as a description.*task"),
    ({"arguments": "nonsense"}, "cannot be read as a description"),
    ({"arguments": '{"min_ch": "many"}'}, "argument --min_ch: invalid"),
    ({"arguments": '{"newer": 1}'}, "does not have here: newer"),
    ({"model": "sparnte"}, "Did you mean sparnet"),
    ({"input": json.dumps({"task": "celeba", "size": 8, "scale_factor": 8, "enlarged": "bicubic"})}, "size 8"),
    ({"input": json.dumps({"task": "celeba", "size": 32, "scale_factor": 8, "enlarged": "lanczos"})},
     "enlarged 'lanczos': it is one of bicubic"),
    ({"input": json.dumps({"task": "celeab", "size": 32, "scale_factor": 8, "enlarged": "bicubic"})},
     "Did you mean celeba"),
])
def test_metadata_that_describes_nothing_is_refused(tmp_path, change, message):
    metadata = {name: text for name, text in (describe({}).metadata() | change).items() if text is not None}
    save_file({"x": torch.zeros(1)}, tmp_path / "w.safetensors", metadata)
    with pytest.raises(UserError, match=message) as error:
        read_description(tmp_path / "w.safetensors")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("image, message", [
    (np.zeros((8, 8, 3)), "image 1: a uint8 array is needed, .*float64"),
    (np.zeros((8, 8), np.uint8), r"image 1: its shape is \(8, 8\); an image \[height, width, 3\] is needed"),
    (np.zeros((8, 8, 4), np.uint8), r"image 1: its shape is \(8, 8, 4\)"),
    (np.zeros((3, 0, 3), np.uint8), "image 1: it is empty"),
    (Image.new("RGB", (8, 8)), "image 1: a uint8 array .* not a Image"),
])
def test_what_is_no_image_is_one_clear_line(weights, image, message):
    restorer = Restorer.load(weights[0], "cpu")
    with pytest.raises(UserError, match=message):
        restorer([np.zeros((8, 8, 3), np.uint8), image])
    with pytest.raises(UserError, match=r"a list of images is needed, not one array \(8, 8, 3\)"):
        restorer(np.zeros((8, 8, 3), np.uint8))


def test_a_network_in_training_restores_in_eval_mode_and_goes_on(weights):
    recipe = build_training_recipe(parse_train(TINY))
    recipe.networks["G"].train()
    restorer = Restorer(recipe, torch.device("cpu"))
    faces = torch.zeros(2, 32, 32, 3, dtype=torch.uint8)
    with recipe.evaluating():
        assert not recipe.networks["G"].training
        restored, priors = restorer.restore_batch(faces)
    assert recipe.networks["G"].training and restored.shape == (2, 3, 32, 32) and priors is None
    with pytest.raises(ValueError, match="without a description"):
        restorer([np.zeros((8, 8, 3), np.uint8)])


def test_released_tensors_are_read_by_anybody():
    """The file is plain safetensors with float16 convolutions; the metadata is not needed."""
    tensors = load_file(pretrained.find_pretrained("sparnet"))
    assert {tensor.dtype for tensor in tensors.values() if tensor.dim() > 1} == {torch.float16}
