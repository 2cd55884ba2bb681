# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""GPEN: released keys and reference outputs, derivatives for training, precision, checkpoints and export."""
import copy
import json
import math
import weakref

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from benchmarks.gpen_grouped import grouped_form
from models import create_network
from models.gpen import GPEN, Discriminator
from models.stylegan2 import EqualLinear
from models.weights import WeightsError, count_parameters, load_weights
from tests.helpers.paths import FIXTURES
from tests.helpers.released import fill, probe, relative
from utils import amp

MILLIONS = {"gpen_256_narrow": 18.88, "gpen_512": 71.01, "gpen_1024": 71.2, "gpen_2048": 71.3,
            "gpen_256_narrow_discriminator": 6.00, "gpen_512_discriminator": 28.98}
STYLE_DIM = 8


def filled(net):
    net.load_state_dict(fill(net.state_dict(), equalized=True))
    return net.eval()


def tiny(size=16):
    """Returns a generator of 32 channels; its weights differ per layer, to expose a wrong one."""
    return filled(GPEN(size, channel_multiplier=1, narrow=1 / 16, style_dim=STYLE_DIM))


def tiny_discriminator():
    return filled(Discriminator(16, channel_multiplier=1, narrow=1 / 16))


def psnr(found, reference):
    """Returns the PSNR in dB; its peak is the reference's range."""
    return 10 * math.log10((reference.max() - reference.min()) ** 2 / (found - reference).square().mean())


@pytest.fixture(scope="module")
def narrow():
    return filled(create_network("gpen_256_narrow")).to(memory_format=torch.channels_last)


@pytest.fixture(scope="module")
def narrow_result(narrow):
    with torch.no_grad():
        return narrow(probe((1, 3, 256, 256)))


@pytest.mark.parametrize("name", MILLIONS)
def test_released_keys(name):
    with torch.device("meta"):
        net = create_network(name)
    expected = json.loads((FIXTURES / f"{name}.keys.json").read_text())
    assert [(key, list(tensor.shape)) for key, tensor in net.state_dict().items()] == list(expected.items())
    digits = len(str(MILLIONS[name]).split(".")[1])
    assert round(count_parameters(net) / 1e6, digits) == MILLIONS[name]


def reference(name):
    return torch.from_numpy(np.load(FIXTURES / f"{name}.seed0.npz")["out0"])


def test_reference_output_at_256(narrow_result):
    assert relative(narrow_result[..., ::4, ::4], reference("gpen_256_narrow")) < 1e-4


def test_reference_output_at_512():
    net = filled(create_network("gpen_512")).to(memory_format=torch.channels_last)
    with torch.no_grad():
        assert relative(net(probe((1, 3, 512, 512)))[..., ::4, ::4], reference("gpen_512")) < 1e-4


@pytest.mark.parametrize("size", ["256_narrow", "512"])
def test_reference_scores(size):
    name = f"gpen_{size}_discriminator"
    net = filled(create_network(name)).to(memory_format=torch.channels_last)
    pixels = int(size[:3])
    with torch.no_grad():
        scores = net(probe((2, 3, pixels, pixels)))
    expected = reference(name)
    assert scores.shape == expected.shape and relative(scores, expected) < 1e-4
    # A bias dominates each score. The difference between two scores shows what the images contribute.
    assert relative(scores.diff(dim=0), expected.diff(dim=0)) < 0.05


def test_filters_sum_to_the_pixels_that_one_becomes():
    sums = {key: tensor.sum().item() for net in (tiny(), tiny_discriminator())
            for key, tensor in net.state_dict().items() if key.endswith("kernel")}
    assert all(value == pytest.approx(4 if "blur" in key or "upsample" in key else 1) for key, value in sums.items())
    assert len(sums) == 2 + 2 + 2 + 4


@pytest.mark.parametrize("size", [4, 48, 4096])
def test_sizes_that_do_not_exist(size):
    for build in (GPEN, Discriminator):
        with pytest.raises(ValueError, match=f"power of two from 8 to 2048, not {size}"):
            build(size)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_grouped_form_is_the_same_network(layout):
    net = tiny(32)
    plain = grouped_form(copy.deepcopy(net))
    net = net.to(memory_format=layout)
    results = []
    for form in (net, plain):
        x = probe((2, 3, 32, 32)).contiguous(memory_format=layout if form is net else torch.contiguous_format)
        x.requires_grad_()
        faces = form(x)
        (faces * probe(faces.shape, 1)).sum().backward()
        results.append([faces, x.grad, *(p.grad for p in form.parameters())])
    for mine, theirs in zip(*results, strict=True):
        assert relative(mine, theirs) < 1e-3


def path_length_gradients(net, x):
    faces, latents = net(x, return_latents=True)
    noise = probe(faces.shape, 2).to(x) / faces.shape[-1]
    gradient, = torch.autograd.grad((faces * noise).sum(), latents, create_graph=True)
    assert gradient.shape == (2, len(net.generator.convs) + 2, STYLE_DIM)
    assert (gradient.abs().amax((0, 2)) > 0).all()  # every layer's latent contributes
    lengths = gradient.square().sum(2).mean(1).sqrt()
    return torch.autograd.grad((lengths - 0.1).square().mean(), list(net.parameters()), allow_unused=True)


def r1_gradients(net, x):
    x = x.requires_grad_()
    gradient, = torch.autograd.grad(net(x).sum(), x, create_graph=True)
    return torch.autograd.grad(gradient.square().sum((1, 2, 3)).mean(), list(net.parameters()), allow_unused=True)


PENALTIES = pytest.mark.parametrize("make, gradients",
                                    [(tiny, path_length_gradients), (tiny_discriminator, r1_gradients)])


@PENALTIES
def test_penalties_on_gradients_agree_between_the_forms(make, gradients):
    net = make()
    plain = grouped_form(copy.deepcopy(net)).double()
    x = probe((2, 3, 16, 16))
    single = gradients(net, x.clone())
    double, expected = (gradients(form, x.double()) for form in (net.double(), plain))
    given = [theirs is not None and bool(theirs.any()) for theirs in expected]
    assert sum(given) > 0.5 * len(given)
    largest = max(theirs.abs().max() for theirs in expected if theirs is not None)
    for rough, mine, theirs, some in zip(single, double, expected, given, strict=True):
        assert relative(mine, theirs) < 1e-8 if some else mine is None or not mine.any()
        # 1e-4 is about 800 rounding errors of float32. R1 gives a bias its gradient only through the deviation over
        # the batch, as a sum whose terms almost cancel: even in float64, the forms differ by up to 1e6 rounding errors.
        assert rough is theirs is None or (rough - theirs).abs().max() < 1e-4 * largest


def test_the_decoder_alone_draws_random_features():
    decoder = tiny().generator
    latents = decoder.latents(probe((2, STYLE_DIM)))
    assert torch.equal(decoder(latents), decoder(latents))  # in eval mode, missing features are zeros
    decoder.train()
    torch.manual_seed(0)
    first, second = decoder(latents), decoder(latents)
    torch.manual_seed(0)
    assert torch.equal(decoder(latents), first)
    assert first.shape == (2, 3, 16, 16) and relative(first, second) > 0.01
    first.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in decoder.parameters())


def test_latents_may_differ_between_layers():
    net = tiny()
    latents, features = net.encode(probe((2, 3, 16, 16)))
    assert [f.shape[2] for f in features] == [4, 8, 16]
    assert torch.equal(net.generator(latents, features), net(probe((2, 3, 16, 16))))
    mixed = latents.clone()
    mixed[:, 4:] = latents[:, 4:].flip(0)
    assert relative(net.generator(mixed, features), net.generator(latents, features)) > 0.01


@pytest.mark.parametrize("without_gradients", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("faces", [1, 2])
def test_restoring_without_gradients_is_the_same_and_changes_nothing(faces, layout, without_gradients):
    net = tiny(32).to(memory_format=layout)
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    x = probe((faces, 3, 32, 32)).contiguous(memory_format=layout)
    given = x.clone()
    expected = net(x)
    with without_gradients():
        for _ in range(2):
            assert relative(net(x), expected) < 1e-5
        latents, features = net.encode(x)
        kept = [tensor.clone() for tensor in (latents, *features)]
        net.generator(latents, features)
        assert all(torch.equal(a, b) for a, b in zip((latents, *features), kept, strict=True))
    assert torch.equal(x, given)
    assert all(torch.equal(tensor, before[key]) for key, tensor in net.state_dict().items())


@torch.no_grad()
def test_features_are_kept_no_longer_than_needed():
    net, alive = tiny(), []
    for stage in (net.ecd0, net.ecd1, net.ecd2):
        stage.register_forward_hook(lambda *call: alive.append(weakref.ref(call[-1])))
    seen = []
    net.generator.convs[-1].register_forward_hook(lambda *_: seen.extend(ref() is not None for ref in alive))
    net(probe((1, 3, 16, 16)))
    assert seen == [True, False, False]  # only the full-size feature is still alive


@torch.no_grad()
def test_a_face_does_not_depend_on_its_batch():
    net = tiny()
    x = probe((3, 3, 16, 16))
    together = net(x)
    for i in range(3):
        assert relative(net(x[i:i + 1]), together[i:i + 1]) < 1e-5


@pytest.mark.parametrize("opt_level", ["O1", "O2"])
def test_bfloat16_at_256(narrow, narrow_result, opt_level):
    half = copy.deepcopy(narrow)
    amp.prepare_inference(half, opt_level, torch.bfloat16)
    with torch.no_grad():
        assert psnr(half(probe((1, 3, 256, 256))), narrow_result) > 48
    assert half.generator.conv1.conv.weight.dtype == (torch.bfloat16 if opt_level == "O2" else torch.float32)
    assert half.generator.to_rgbs[0].upsample.kernel.dtype == torch.float32


@pytest.mark.parametrize("opt_level", ["O1", "O2"])
def test_float16(opt_level):
    net, x = tiny(32), probe((2, 3, 32, 32))
    half = copy.deepcopy(net)
    amp.prepare_inference(half, opt_level, torch.float16)
    with torch.no_grad():
        assert psnr(half(x), net(x)) > 60
    discriminator = tiny_discriminator()
    half = copy.deepcopy(discriminator)
    amp.prepare_inference(half, opt_level, torch.float16)
    with torch.no_grad():
        assert relative(half(x[:, :, ::2, ::2]), discriminator(x[:, :, ::2, ::2])) < 5e-3


def test_what_half_weights_leave_in_float32():
    net = tiny()
    amp.prepare_inference(net, "O2", torch.bfloat16)
    types = {}
    for name, module in net.named_modules():
        module.register_forward_hook(lambda module, _, output, name=name: types.__setitem__(name, output))
    with torch.no_grad():
        net(probe((1, 3, 16, 16)))
    linear = [types[name].dtype for name, module in net.named_modules() if isinstance(module, EqualLinear)]
    assert len(linear) == 17 and set(linear) == {torch.float32}
    assert all(p.dtype == torch.float32 for m in net.modules() if isinstance(m, EqualLinear) for p in m.parameters())
    assert types["generator.to_rgb1"].dtype == types["generator.to_rgbs.1"].dtype == torch.float32
    assert types["ecd2"].dtype == types["generator.convs.3"].dtype == torch.bfloat16


@pytest.mark.parametrize("opt_level", ["O0", "O2"])
def test_training_lowers_the_loss(opt_level):
    torch.manual_seed(0)
    net = GPEN(16, 1, 1 / 16, STYLE_DIM).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.005, betas=(0.0, 0.99))
    net, optimizer = amp.initialize(net, optimizer, opt_level, half=torch.bfloat16)
    target = F.interpolate(probe((2, 3, 4, 4)), size=(16, 16), mode="bicubic").contiguous(
        memory_format=torch.channels_last)
    losses = []
    for _ in range(15):
        loss = F.smooth_l1_loss(net(target), target)
        with amp.scale_loss(loss, optimizer) as scaled:
            scaled.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0], losses


def test_checkpoints_of_its_own_trainings(tmp_path):
    generator, average, discriminator = tiny(), tiny(), tiny_discriminator()
    with torch.no_grad():
        average.generator.input.input += 1
    path = tmp_path / "500000.pth"
    saved = {"g": generator.state_dict(), "d": discriminator.state_dict(), "g_ema": average.state_dict(),
             "g_optim": {"state": {}, "param_groups": []}, "d_optim": {"state": {}, "param_groups": []}}
    torch.save(saved, path)
    net = GPEN(16, 1, 1 / 16, STYLE_DIM)
    for containers, expected in (((), average), ((("g",),), generator)):
        load_weights(net, path, *containers)
        assert torch.equal(net.generator.input.input, expected.generator.input.input)
    other = load_weights(Discriminator(16, 1, 1 / 16), path, containers=("d",))
    assert torch.equal(other.final_conv[0].weight, discriminator.final_conv[0].weight)
    del saved["d"]
    torch.save(saved, path)
    with pytest.raises(WeightsError, match="holds no weights of a known form. It holds: g "):
        load_weights(other, path, containers=("d",))


@torch.no_grad()
def test_exports_and_gives_the_same_output():
    net = tiny(8).to(memory_format=torch.channels_last)
    x = probe((2, 3, 8, 8)).contiguous(memory_format=torch.channels_last)
    exported = torch.export.export(net, (x,), strict=True)
    calls = [str(node.target) for node in exported.graph.nodes if node.op == "call_function"]
    assert not [name for name in calls if name.endswith(".out")]  # ONNX has no operators with an output argument
    for _ in range(2):
        assert relative(exported.module()(x), net(x)) < 1e-6


def test_uses_native_operators_of_an_npu(npu):
    from npusim import operators
    net, discriminator = tiny().to("npu"), tiny_discriminator().to("npu")
    x = probe((2, 3, 16, 16)).to("npu")

    def run():
        path_length_gradients(net, x)
        r1_gradients(discriminator, x.clone())
        F.softplus(-discriminator(net(x))).mean().backward()
        with torch.no_grad():
            net(x)
    assert operators.without_kernel(run) == []


def test_keep_luma_keeps_the_inputs_luma_and_the_networks_colours():
    plain, keeping = (GPEN(16, 1, 0.05, 8, keep_luma=keep).eval() for keep in (False, True))
    keeping.load_state_dict(fill(plain.state_dict()))
    plain.load_state_dict(fill(plain.state_dict()))
    x = probe((2, 3, 16, 16), 0)
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    with torch.no_grad():
        faces, kept = plain(x), keeping(x)
        torch.testing.assert_close((kept * weights).sum(1), (x * weights).sum(1))
        for a, b in ((0, 1), (1, 2)):
            torch.testing.assert_close(kept[:, a] - kept[:, b], faces[:, a] - faces[:, b], rtol=1e-4, atol=1e-5)
        assert relative(kept, faces) > 0.01
        styles = probe((2, plain.generator.layers, 8), 1)
        torch.manual_seed(0)
        drawn = plain(styles)
        torch.manual_seed(0)
        assert torch.equal(keeping(styles), drawn)  # faces that are generated have no input
