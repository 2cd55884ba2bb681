# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""FSRNet and FSRGAN's discriminator: released keys, reference outputs, and the weight files that load."""
import pytest
import torch

from models import create_network
from models.weights import WeightsError, count_parameters, load_weights, match_weights
from tests.helpers.released import check_released, fill, probe, relative


def small(**arguments):
    """Returns a narrow network in eval mode; its weights differ per layer, to expose a wrong one."""
    net = create_network("fsrnet", **{"width": 4, "enc_blocks": 2, "hourglasses": 1, "pmaps_ch": 3} | arguments).eval()
    net.load_state_dict(fill(net.state_dict()))
    return net


@pytest.mark.parametrize("name, millions", [("fsrnet_celebamask", "2.154"), ("fsrnet_helen", "2.179")])
def test_released_network(name, millions):
    check_released(name, millions, (2, 3, 128, 128), lambda found: [output[..., ::2, ::2] for output in found])


def test_released_discriminator():
    check_released("fsrgan_discriminator", "4.69", (2, 3, 128, 128), lambda probabilities: [probabilities])


def test_the_paper_ties_nothing():
    net = create_network("fsrnet")
    assert f"{count_parameters(net) / 1e6:.2f}" == "3.26"
    assert list(net.state_dict()) == list(create_network("fsrnet_celebamask").state_dict())


@pytest.mark.parametrize("height, width", [(16, 32), (50, 38)])
def test_other_sizes(height, width):
    coarse, priors, fine = small(hmaps_ch=2)(probe((1, 3, height, width)))
    assert coarse.shape == fine.shape == (1, 3, height, width)
    assert priors.shape == (1, 2 + 3, height // 2, width // 2)


def test_heatmaps_come_before_parsing_maps():
    net = small(hmaps_ch=2)
    for head, value in ((net.prior_conv1, 5.0), (net.prior_conv2, 7.0)):
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.constant_(head.bias, value)
    assert net(probe((1, 3, 32, 32)))[1].mean((0, 2, 3)).tolist() == [5, 5, 7, 7, 7]


def test_a_network_without_maps_is_refused():
    with pytest.raises(ValueError, match="hmaps_ch 0 and pmaps_ch 0"):
        create_network("fsrnet", pmaps_ch=0)


@pytest.mark.parametrize("container", ["state_dict", "state_dict_G"])
def test_published_checkpoints_load(container, tmp_path):
    tied = small(tied=True)
    torch.save({container: tied.state_dict(), "hmaps_ch": 0, "pmaps_ch": 3, "epoch": 7}, tmp_path / "net.pth")
    x = probe((1, 3, 32, 32))
    for net in (small(tied=True), small()):  # equal untied blocks compute the same as tied ones
        torch.nn.init.zeros_(net.csr_net.conv1[1].weight)
        assert torch.equal(load_weights(net, tmp_path / "net.pth")(x)[2], tied(x)[2])


def test_files_of_other_maps_say_which(tmp_path):
    torch.save(small(hmaps_ch=5, pmaps_ch=2).state_dict(), tmp_path / "net.pth")
    with pytest.raises(WeightsError, match=r"net.pth.*of 5 heatmaps and 2 parsing maps, the network has 0 and 3: "
                                           r"set --hmaps_ch 5 --pmaps_ch 2"):
        load_weights(small(), tmp_path / "net.pth")


def test_several_blocks_do_not_become_one():
    with pytest.raises(WeightsError, match=r"several blocks .*\(csr_net.res_blocks.0.layers.1.weight\).*--tied"):
        match_weights(small(tied=True), small().state_dict())


def test_another_networks_file_is_listed_as_ever():
    with pytest.raises(WeightsError, match="do not fit FSRNet: .*another kind of network"):
        match_weights(small(), create_network("fsrgan_discriminator", width=4).state_dict())


def test_logits_are_what_the_sigmoid_takes():
    net = create_network("fsrgan_discriminator", width=4).eval()
    x = probe((2, 3, 32, 48))
    assert net(x).shape == (2, 1, 2, 3)
    assert torch.equal(net(x, logits=True).sigmoid(), net(x))


def test_channels_last_equals_contiguous():
    x, outputs = probe((2, 3, 32, 32)), []
    for layout in (torch.contiguous_format, torch.channels_last):
        net = small(tied=True).train().to(memory_format=layout)
        fine = net(x.to(memory_format=layout))[2]
        fine.square().mean().backward()
        gradients = (net.fsr_enc.conv1[0].weight.grad, net.csr_net.res_blocks[0].layers[1].weight.grad)
        outputs.append((fine.detach(), *gradients))
    for contiguous, last in zip(*outputs, strict=True):
        assert relative(last, contiguous) < 1e-3
