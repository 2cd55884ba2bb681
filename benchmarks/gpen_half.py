# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Compares GPEN in half precision (O2) with float32: PSNR in dB between the outputs of the same weights.

    python -m benchmarks.gpen_half FACES --pth_path check_points/NAME/best_net_G.pth [--json FILE]
    python -m benchmarks.gpen_half FACES --network gpen_512

The first command uses trained weights, with the options.yml beside them. The second uses a network of the released
shapes with random weights; the encoder's features count as much as the decoder's. PSNR's peak is the range of the
float32 output.
"""
import copy
import math
import statistics

import numpy as np
import torch

import utils.device
from benchmarks.measuring import machine, show
from data.face_folder import Place
from data.single_dataset import SingleDataset
from models import NETWORKS, build_recipe, create_network
from models.weights import load_weights
from options.test_options import parse_test
from utils import amp
from utils.errors import run_main
from utils.images import list_images, to_tensor_range
from utils.option_types import at_least, tool_parser


def trained(path, faces):
    """Returns (network, input size in pixels) of a training's weights file."""
    options = parse_test(["--pth_path", path, "--dataroot", faces])
    return load_weights(build_recipe(options).networks["G"], path), options.load_size


def untrained(name):
    """Returns (network, input size in pixels) with random weights.

    Parameters that a training starts at 0 (biases, the weights of the encoder's features) are random, too.
    """
    torch.manual_seed(0)
    net = create_network(name)
    for parameter in net.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter)
    return net, NETWORKS[name][1]["size"]


@torch.no_grad()
def decibels(net, rounded, faces):
    """Returns the PSNR of `rounded`'s output against `net`'s output for each of `faces` (float NCHW)."""
    psnrs = []
    for face in faces.split(1):
        wanted = net(face)
        error = (rounded(face) - wanted).square().mean()
        psnrs.append(10 * math.log10((wanted.max() - wanted.min()) ** 2 / error))
    return psnrs


def main():
    parser = tool_parser(__doc__)
    parser.add_argument("faces", help="folder of degraded faces")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--pth_path", help="trained weights to measure")
    which.add_argument("--network", choices=[n for n, (target, _) in NETWORKS.items() if target.endswith(":GPEN")],
                       help="network to measure with random weights")
    parser.add_argument("--half", nargs="+", default=["bfloat16", "float16"], choices=["bfloat16", "float16"],
                        help="types of half precision to measure (default: both)")
    parser.add_argument("--count", type=at_least(1, largest=1_000_000), default=16,
                        help="number of faces, from the start of the folder (default: 16)")
    parser.add_argument("--device", default="auto", help="device: auto, npu, cuda or cpu (default: auto)")
    parser.add_argument("--json", default=None, help="JSON file to write (default: none)")
    a = parser.parse_args()
    device = utils.device.pick_device(a.device)
    utils.device.set_up(device)
    net, size = trained(a.pth_path, a.faces) if a.pth_path else untrained(a.network)
    net.to(device, memory_format=utils.device.memory_format(device)).eval()
    dataset = SingleDataset(list_images(a.faces, "FACES")[:a.count], size)
    images = np.stack([dataset[Place(0, i)]["lr"] for i in range(len(dataset))])
    faces = to_tensor_range(torch.from_numpy(images).to(device))
    rows = []
    for half in a.half:
        psnrs = decibels(net, amp.prepare_inference(copy.deepcopy(net), "O2", getattr(torch, half)), faces)
        rows.append({"network": a.network or "trained", "pixels": size, "half": half, "faces": len(psnrs),
                     "worst dB": min(psnrs), "median dB": statistics.median(psnrs)})
    show(f"GPEN in half precision against float32, on {machine(device)}", rows, a.json)


if __name__ == "__main__":
    run_main(main)
