# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Measures the PSNR of networks on other crops, and on faces of other sizes and conditions, trained for them or not.

    python -m benchmarks.robustness crops CELEBA218 --weights A.pth B.pth [--count 200] [--json crops.json]
    python -m benchmarks.robustness conditions FACES --weights A.pth [--count 50] [--side 256 --sizes 32 64 128 256]

crops: aligned faces of 178x218 pixels are cropped to squares that start at several rows (8: upper part, 20: centre),
then restored from 16 to 128 pixels (PIL BICUBIC).
conditions: the centred square at --side pixels is reduced, blurred, made noisy, JPEG-compressed, or all of these.
A network that was trained on one size gets its inputs at that size, as in newtest.py (utils/images.py).
Reports PSNR of Y in dB (protocol sparnet), mean over the faces, of the input and of each network's output, and with
--identity_path the similarity of both to the true face (metrics/identity.py).
"""

import numpy as np
import torch
from PIL import Image

import utils.device
from benchmarks.measuring import show
from data.degradations import gaussian_blur, gaussian_noise, jpeg
from data.face_folder import FaceFolder
from data.loader import spread
from metrics.identity import IdentitySimilarity
from metrics.psnr_ssim import mean, mean_psnr, psnr, to_uint8
from models import build_recipe
from models.weights import load_weights
from options.test_options import parse_test
from restore.description import describe
from utils.errors import run_main
from utils.images import centre_square, read_rgb, resize, to_tensor_range, to_trained_side
from utils.option_types import SIZE, at_least, tool_parser

SIDE, SCALE, BATCH, PROTOCOL = 128, 8, 10, "sparnet"
# Sigma in pixels of the full-size face (see `spoil`), sigma in grey levels (0..255), JPEG quality.
BLUR, NOISE, QUALITY = 1.0, 10.0, 50
CONDITIONS = {"clean": (), "blur": ("blur",), "noise": ("noise",), "jpeg": ("jpeg",), "all": ("blur", "noise", "jpeg")}


def spoil(face, size, parts, rng):
    """Returns a uint8 HWC RGB `face` as a PIL image of `size` pixels with the degradations `parts`.

    The blur's sigma lies between one pixel of the full-size face and one of the small face (data/face128_chain.py).
    """
    side = face.shape[0]
    if "blur" in parts:
        face = gaussian_blur(face, BLUR * (side / size) ** 0.5)
    low = np.asarray(resize(Image.fromarray(face), size))
    if "noise" in parts:
        low = gaussian_noise(low, NOISE, True, rng)
    if "jpeg" in parts:
        low = jpeg(low, QUALITY)
    return Image.fromarray(low)


def crop_cases(images, rows):
    """Yields ({"first row": row}, small faces, true ones) per first row: PIL images, uint8 HWC RGB arrays."""
    for row in rows:
        faces = [resize(image, SIDE, (0, row, image.width, row + image.width)) for image in images]
        yield {"first row": row}, [resize(f, SIDE // SCALE) for f in faces], list(map(np.asarray, faces))


def condition_cases(images, sizes, side=SIDE):
    """Yields ({"size", "condition"}, small faces, true ones of `side` pixels) per size and condition, as crop_cases."""
    faces = [np.asarray(resize(image, side, centre_square(image.size))) for image in images]
    for size in sizes:
        for name, parts in CONDITIONS.items():
            low = [spoil(f, size, parts, np.random.default_rng([size, i])) for i, f in enumerate(faces)]
            yield {"size": size, "condition": name}, low, faces


def enlarged(images, side, trained=None):
    """Returns PIL images as a network's inputs, uint8 [side, side, 3]; trained: see to_trained_side."""
    return [np.asarray(resize(to_trained_side(image, trained, side), side)) for image in images]


@torch.no_grad()
def restored(net, inputs, device):
    """Returns the network's outputs for a list of inputs; both are lists of uint8 HWC RGB arrays."""
    found = []
    for start in range(0, len(inputs), BATCH):
        batch = torch.from_numpy(np.stack(inputs[start:start + BATCH])).to(device)
        found += list(to_uint8(net(to_tensor_range(batch)).float().cpu(), PROTOCOL))
    return found


def load_network(path, device):
    """Returns (generator of the weights file `path`, in eval mode, size of its training's faces or None).

    The file's metadata describes it, or the options.yml beside it.
    """
    options = parse_test(["--pth_path", path, "--dataroot", "unused"])
    net = load_weights(build_recipe(options).networks["G"], path)
    net = net.to(device, memory_format=utils.device.memory_format(device)).eval()
    return net, describe(vars(options)).trained_side()


def main():
    parser = tool_parser(__doc__)
    parser.add_argument("what", choices=["crops", "conditions"])
    parser.add_argument("faces", help="folder of faces")
    parser.add_argument("--weights", nargs="+", required=True, help="files, each with its options.yml beside it")
    parser.add_argument("--count", type=at_least(1), default=200, help="so many faces, evenly spread over the folder")
    parser.add_argument("--rows", type=at_least(0, largest=1000), nargs="+", default=[8, 12, 16, 20, 24, 28],
                        help="of crops")
    parser.add_argument("--sizes", type=at_least(8, largest=SIZE), nargs="+", default=[12, 16, 24, 32, 48, 64, 96, 128],
                        help="of conditions")
    parser.add_argument("--side", type=at_least(8, largest=SIZE), default=SIDE,
                        help="of conditions: side of the true faces and of the networks' inputs (default: 128)")
    parser.add_argument("--identity_path", default=None,
                        help="weights file of a face embedding for identity similarity; default: it is not computed")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", default=None, help="file for the table")
    a = parser.parse_args()
    device = utils.device.pick_device(a.device)
    paths = FaceFolder.list_faces(a.faces, "FACES")
    images = [read_rgb(paths[i]) for i in spread(min(a.count, len(paths)), len(paths))]
    identity = IdentitySimilarity(a.identity_path, device) if a.identity_path else None
    networks = [load_network(path, device) for path in a.weights]
    rows = []
    cases = crop_cases(images, a.rows) if a.what == "crops" else condition_cases(images, a.sizes, a.side)
    for row, small, faces in cases:
        side = faces[0].shape[0]
        inputs = enlarged(small, side)
        row["input"] = mean_psnr(psnr(low, face, PROTOCOL) for low, face in zip(inputs, faces, strict=True))
        outputs = [restored(net, enlarged(small, side, trained), device) for net, trained in networks]
        for number, found in enumerate(outputs, 1):
            row[f"weights {number}"] = mean_psnr(psnr(sr, f, PROTOCOL) for sr, f in zip(found, faces, strict=True))
        if identity:
            names = ["input", *(f"weights {number}" for number in range(1, len(networks) + 1))]
            for name, found in zip(names, identity(faces, inputs, *outputs), strict=True):
                known = [value for value in found if value is not None]
                row[f"identity, {name}"] = mean(known) if known else "no face found"
        rows.append(row)
        print("  ".join(f"{k} {v:.2f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()), flush=True)
    for number, path in enumerate(a.weights, 1):
        print(f"weights {number}: {path}")
    show(f"PSNR ({PROTOCOL}) in dB, {len(images)} faces of {a.faces}", rows, a.json)


if __name__ == "__main__":
    run_main(main)
