# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Trains a face super-resolution network.

    python newtrain.py --dataroot FACES                          trains the published SPARNet, 16 to 128 pixels
    python newtrain.py --preset sparnet_light_attn3d --dataroot FACES --valroot OTHER_FACES --name light
    python newtrain.py --name light --preset sparnet_light_attn3d --dataroot FACES --continue_train
    torchrun --nproc_per_node=8 newtrain.py --dataroot FACES     trains on 8 devices, --batch_size faces per device
    python newtrain.py --help
"""
import sys

from options.train_options import parse_train
from utils.errors import run_main
from utils.started_by import end_with_starters


def main():
    end_with_starters()
    options = parse_train(sys.argv[1:])
    from engine.trainer import Trainer  # not at the top: torch takes seconds to import, --help needs none
    from utils import distributed
    with distributed.session():
        return Trainer(options).fit()


if __name__ == "__main__":
    run_main(main)
