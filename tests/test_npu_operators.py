"""Every operator of a training step has a native kernel in torch_npu 2.13, going by its registrations."""
import pytest
import torch
from torch import nn
from torch.nn import functional as F


@pytest.fixture
def operators():
    """The module npusim.operators, with the simulated devices visible during this test only."""
    from npusim.build import NoCompiler  # not at the top: it registers the device
    try:
        import npusim
        from npusim import operators
    except NoCompiler as error:
        pytest.skip(str(error))
    npusim.set_visible(npusim.DEVICES)
    yield operators
    npusim.set_visible(0)


def test_the_list(operators):
    names = operators.registered()
    assert len(names) == 1944 and sum(n.startswith("aten::") for n in names) == 1496
    assert "aten::convolution_overrideable" in names
    assert all(reason for reason in operators.EXCEPTIONS.values())
    assert not names & set(operators.EXCEPTIONS)  # an exception that is no longer one


@pytest.mark.parametrize("half", [None, torch.float16])
def test_a_training_step_uses_native_operators(operators, half):
    device = torch.device("npu")
    net = nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.LeakyReLU(0.2),
                        nn.PReLU(8), nn.ReflectionPad2d(1), nn.Conv2d(8, 3, 3)).to(device)
    optimizer = torch.optim.Adam(net.parameters(), fused=True)

    def step():
        x = torch.rand(2, 3, 8, 8).to(device)
        with torch.autocast("npu", dtype=half or torch.float16, enabled=half is not None):
            y = F.interpolate(net(x), size=(16, 16), mode="nearest")
        loss = F.l1_loss(y.float(), torch.zeros(2, 3, 16, 16, device=device))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    assert operators.without_kernel(step) == []
    used = operators.operators_used(step)
    for name in ("convolution_backward_overrideable", "reflection_pad2d_backward", "native_batch_norm",
                 "leaky_relu.out", "_fused_adam_", "copy_", "_local_scalar_dense"):
        assert "aten::" + name in used


def test_an_operator_without_a_kernel_is_found(operators):
    x = torch.ones(2, 2, device="npu")
    assert operators.without_kernel(lambda: torch.special.bessel_j0(x)) == ["aten::special_bessel_j0.out"]
    with pytest.raises(ValueError, match="no operator ran"):
        operators.without_kernel(lambda: torch.ones(2).add(1))
