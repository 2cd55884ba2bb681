"""GPEN restoring faces in half precision (O2) against float32: PSNR in dB between the two results of the same weights.

    python -m benchmarks.gpen_half FACES --pth_path check_points/NAME/best_net_G.pth [--json FILE]
    python -m benchmarks.gpen_half FACES --network gpen_512

The first takes trained weights, with the options.yml beside them; the second a network of the released shapes with
random weights, the encoder's features counting as much as the decoder's own. The peak is the range of float32's result.
"""
import argparse
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
from utils.images import list_images, to_tensor_range


def trained(path, faces):
    """(network, pixels) of a run's weights file."""
    options = parse_test(["--pth_path", path, "--dataroot", faces])
    return load_weights(build_recipe(options).networks["G"], path), options.load_size


def untrained(name):
    """(network, pixels): random weights, those too that a training begins at 0 (biases, what weighs the features)."""
    torch.manual_seed(0)
    net = create_network(name)
    for parameter in net.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter)
    return net, NETWORKS[name][1]["size"]


@torch.no_grad()
def decibels(net, rounded, faces):
    """[PSNR of what `rounded` makes of a face against what `net` does] for each of faces, float NCHW."""
    found = []
    for face in faces.split(1):
        wanted = net(face)
        error = (rounded(face) - wanted).square().mean()
        found.append(10 * math.log10((wanted.max() - wanted.min()) ** 2 / error))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", help="folder of degraded faces")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--pth_path")
    which.add_argument("--network", choices=[n for n, (target, _) in NETWORKS.items() if target.endswith(":GPEN")])
    parser.add_argument("--half", nargs="+", default=["bfloat16", "float16"], choices=["bfloat16", "float16"])
    parser.add_argument("--count", type=int, default=16, help="faces, the folder's first")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", default=None)
    a = parser.parse_args()
    device = utils.device.pick_device(a.device)
    utils.device.set_up(device)
    net, size = trained(a.pth_path, a.faces) if a.pth_path else untrained(a.network)
    net.to(device, memory_format=utils.device.memory_format(device)).eval()
    dataset = SingleDataset(list_images(a.faces, "FACES")[:a.count], size)
    pictures = np.stack([dataset[Place(0, i)]["lr"] for i in range(len(dataset))])
    faces = to_tensor_range(torch.from_numpy(pictures).to(device))
    rows = []
    for half in a.half:
        found = decibels(net, amp.prepare_inference(copy.deepcopy(net), "O2", getattr(torch, half)), faces)
        rows.append({"network": a.network or "trained", "pixels": size, "half": half, "faces": len(found),
                     "worst dB": min(found), "median dB": statistics.median(found)})
    show(f"GPEN in half precision against float32, on {machine(device)}", rows, a.json)


if __name__ == "__main__":
    main()
