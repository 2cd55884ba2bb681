# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Weights files of ST-LPIPS as its authors lay them out, with reproducible weights."""
import torch

from models import lpips
from tests.helpers.released import fill

ALEXNET = (2, 6, 10, 12, 14), (0, 3, 7, 11, 13)  # taps; first layer of each slice


def shift_tolerant_file(path, slices, state):
    """Writes ST-LPIPS's own file with the tensors of `state`, which has our keys; slices: first layer of each slice."""
    renamed = {"scaling_layer.shift": torch.zeros(1, 3, 1, 1), "net.slice2.4.filt": torch.zeros(64, 1, 3, 3)}
    for key, value in state.items():
        kind, layer, what = key.split(".")
        number = sum(int(layer) >= first for first in slices)
        renamed[f"net.slice{number}.{layer}.{what}" if kind == "features" else f"lin{layer}.model.1.weight"] = value
    torch.save(renamed, path)
    return path


def shift_tolerant_alexnet(path):
    """Writes a file of ST-LPIPS on AlexNet and returns its path as text."""
    taps, slices = ALEXNET
    state = fill(lpips.LPIPS("", lpips.shift_tolerant_alexnet_layers(), taps).state_dict())
    state |= {key: value.abs() for key, value in state.items() if key.startswith("weights.")}
    return str(shift_tolerant_file(path, slices, state))
