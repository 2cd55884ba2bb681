"""Optimizers that know no found_inf are held back on the device: a skipped step changes nothing, and nobody waits."""
import pytest
import torch

from utils.optimizers import step_unless

BAD = (0, 1, 7, 30)  # steps whose gradients are not finite


def run(optimizer_of, bad=(), device="cpu", steps=40, unless=True):
    """Returns (parameter, moments) after `steps` steps; those of `bad` must change neither."""
    generator = torch.Generator().manual_seed(0)
    param = torch.nn.Parameter(torch.randn(500, generator=generator).to(device))
    param.grad = torch.zeros_like(param)
    optimizer = optimizer_of([param])

    def content():
        state = optimizer.state.get(param, {})
        return [param.detach().cpu(), *(state[name].cpu() for name in sorted(state) if name != "step")]
    for step in range(steps):
        param.grad.copy_(torch.randn(500, generator=generator))  # in place: NpuFusedAdam keeps the tensor
        if step in bad:
            param.grad[:3] = torch.tensor([float("inf"), -float("inf"), float("nan")]).to(device)
        before = content()
        if unless:
            step_unless(optimizer, torch.tensor(float(step in bad)).to(device))
        elif step not in bad:
            optimizer.step()
        if step in bad:
            after = content()
            assert torch.equal(after[0], before[0])
            assert all(torch.equal(a, b) for a, b in zip(after[1:], before[1:] or [torch.zeros(500)] * 2, strict=False))
    return content()


def test_rmsprop_skips_as_if_the_step_had_never_been():
    def make(params):
        return torch.optim.RMSprop(params, lr=1e-2, alpha=0.9, weight_decay=0.01)
    held, never = run(make, BAD), run(make, BAD, unless=False)
    assert all(torch.equal(a, b) for a, b in zip(held, never, strict=True))


def test_npu_fused_adam_is_skipped_without_a_wait(torch_npu):
    def make(params):
        return torch_npu.optim.NpuFusedAdam(params, lr=1e-2)
    held, plain = run(make, device="npu"), run(make, device="npu", unless=False)
    assert all(torch.equal(a, b) for a, b in zip(held, plain, strict=True))  # nothing overflowed: nothing changes
    held, never = run(make, BAD, "npu"), run(make, BAD, "npu", unless=False)
    assert held[0].isfinite().all()
    torch.testing.assert_close(held[1:], never[1:], rtol=0, atol=0)  # moments; its bias corrections count the steps
    torch.testing.assert_close(held[0], never[0], rtol=0, atol=5e-2)
    param = torch.nn.Parameter(torch.ones(8, device="npu"))
    optimizer, overflow = make([param]), torch.zeros((), device="npu")
    param.grad = torch.ones_like(param)
    before = torch.npu.host_reads()
    for _ in range(3):
        step_unless(optimizer, overflow)
    assert torch.npu.host_reads() == before


@pytest.mark.parametrize("overflow", [0.0, 1.0])
def test_the_first_step_makes_moments_that_begin_at_zero(overflow):
    param = torch.nn.Parameter(torch.ones(4))
    optimizer = torch.optim.RMSprop([param], lr=0.1)
    param.grad = torch.ones(4)
    step_unless(optimizer, torch.tensor(overflow))
    assert optimizer.state[param]["square_avg"].count_nonzero() == (0 if overflow else 4)
    assert torch.equal(param.detach(), torch.ones(4)) == bool(overflow)
