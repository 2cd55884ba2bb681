# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Every recipe on the simulated NPU: native operators only, in training and restoring, and no step that waits."""
import pytest
import torch

import utils.device
from data.drawn.builtin_faces import write_faces as draw_faces
from engine.trainer import Trainer
from options.train_options import parse_train
from tests.engine.test_golden_checkpoints import EXPECTED
from tests.helpers.faces import write_faces
from tests.helpers.lpips_file import shift_tolerant_alexnet
from tests.helpers.runs import restore

QUIET = ["--print_freq", 100, "--save_latest_freq", 1000, "--visual_freq", 1000]
CASES = [(recipe, ["--opt_level", "O2"]) for recipe in EXPECTED] + [
    ("fsrnet", ["--opt_level", "O1", "--loss_scale", "dynamic", "--lambda_g", "0.001", "--D_ch", "4"]),
    ("sparnet", ["--opt_level", "O2", "--loss_scale", "dynamic", "--combine_grad", "false", "--max_grad_norm", 1]),
    ("sparnet", ["--opt_level", "O2", "--lambda_g", 0.01, "--D_ch", 2, "--load_size", 128, "--min_feat_size", 32,
                 "--lambda_pcp", 0.1])]


@pytest.fixture
def train_on_npu(npu, tmp_path, faces, one_thread):
    """Returns train(recipe, steps, *words), a tiny training of any recipe into the folder s{steps}.

    train checks that torch_npu's NpuFusedAdam runs wherever the recipe asks for Adam.
    """
    def train(recipe, steps, *words):
        folder = faces
        if recipe == "fsrnet":
            folder = tmp_path / "drawn" / "images"
            if not folder.exists():
                draw_faces(tmp_path / "drawn", 6, 0, 32)
        words = [*EXPECTED[recipe]["words"].split(), "--device", "npu", "--workers", "0", "--dataroot", folder,
                 "--checkpoints_dir", tmp_path, "--name", f"s{steps}", "--train_steps", steps, *QUIET, *words]
        if recipe == "sparnet" and "--lambda_pcp" in words:
            words += ["--pcp_path", shift_tolerant_alexnet(tmp_path / "st.pth")]
        trainer = Trainer(parse_train([str(word) for word in words]))
        for name, spec in trainer.recipe.optimizers.items():
            expected = utils.device.torch_npu.optim.NpuFusedAdam if spec.kind == "adam" else torch.optim.RMSprop
            assert type(trainer.optimizers[name].inner) is expected
        assert trainer.fit() == 0
    return train


@pytest.mark.parametrize("recipe, words", CASES, ids=[recipe + "".join(map(str, words)) for recipe, words in CASES])
def test_native_operators_in_every_step_and_no_wait(train_on_npu, tmp_path, recipe, words):
    from npusim import operators
    reads = []
    for steps in (2, 5):  # GPEN's lazy phases are in both parts
        before = torch.npu.host_reads()
        assert operators.without_kernel(lambda steps=steps: train_on_npu(recipe, steps, *words)) == []
        reads.append(torch.npu.host_reads() - before)
    assert reads[0] == reads[1]  # what both do at the end: log, save
    weights = tmp_path / "s2" / "latest_net_G.pth"
    faces = tmp_path / "few"
    write_faces(faces, 2)
    assert operators.without_kernel(lambda: restore(tmp_path, weights, "--dataroot", faces, "--device", "npu")) == []
