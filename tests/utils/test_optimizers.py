# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Checks that a skipped step changes no weight and no moment, whether or not the optimizer can skip by itself."""
import pytest
import torch

from tests.helpers.precision import equal
from utils.optimizers import step_unless

LR, BETAS = 1e-2, (0.5, 0.99)


def fused_adam(params, **options):
    return torch.optim.Adam(params, LR, BETAS, fused=True, **options)


def rmsprop(params, **options):
    return torch.optim.RMSprop(params, LR, alpha=0.9, **options)


def npu_fused_adam(params, **options):
    import torch_npu
    return torch_npu.optim.NpuFusedAdam(params, LR, BETAS, **options)


def run(make, skipped=None, steps=60, **options):
    """Returns (weights, moments) of two parameters after `steps` steps; `skipped`: those with an inf and a nan.

    skipped None: calls the optimizer's own step().
    """
    generator = torch.Generator().manual_seed(0)
    device = "npu" if make is npu_fused_adam else "cpu"
    params = [torch.nn.Parameter(torch.randn(500, generator=generator).to(device)) for _ in range(2)]
    for param in params:
        param.grad = torch.zeros_like(param)
    optimizer = make(params, **options)
    for step in range(steps):
        for param in params:
            param.grad.copy_(torch.randn(500, generator=generator))
        if skipped is None:
            optimizer.step()
            continue
        before = tensors(params, optimizer)
        if step in skipped:
            params[1].grad[:3] = torch.tensor([float("inf"), -float("inf"), float("nan")])
        step_unless(torch.tensor(float(step in skipped), device=device), optimizer)
        if step in skipped:
            after = tensors(params, optimizer)
            new = after.keys() - before.keys()  # moments that the first step creates
            assert equal(before, {key: after[key] for key in before}) and not any(after[key].any() for key in new)
    return tensors(params, optimizer)


def tensors(params, optimizer):
    """Returns copies of the weights and moments, on the CPU."""
    found = {(i, name): value for i, param in enumerate(params) for name, value in optimizer.state[param].items()
             if name != "step"}
    found |= dict(enumerate(params))
    return {key: value.detach().cpu().clone() for key, value in found.items()}


@pytest.fixture(params=[fused_adam, rmsprop, npu_fused_adam])
def make(request):
    if request.param is npu_fused_adam:
        request.getfixturevalue("npu")
    return request.param


@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_without_overflow_it_is_the_optimizers_step(make, decay):
    assert equal(run(make, weight_decay=decay), run(make, skipped=(), weight_decay=decay))


@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_a_skipped_step_changes_neither_weights_nor_moments(make, decay):
    assert all(value.isfinite().all() for value in run(make, skipped=(0, 1, 7, 30), weight_decay=decay).values())


def test_skipped_steps_count_in_npu_fused_adams_bias_correction_only(npu):
    """The size of the effect is what the docstring of step_unless says. torch's Adam does not count these steps."""
    skipped = (0, 1, 2)
    exact, counted = ({n: run(kind, skipped, n) for n in (3, 4, 60, 400)} for kind in (fused_adam, npu_fused_adam))
    first = [(results[4][0] - results[3][0]).norm() for results in (exact, counted)]
    assert float(first[1] / first[0]) == pytest.approx(4 ** 0.5 / sum(BETAS[0] ** i for i in range(4)), rel=0.02)
    for moment in ("exp_avg", "exp_avg_sq"):
        torch.testing.assert_close(exact[400][0, moment], counted[400][0, moment])
