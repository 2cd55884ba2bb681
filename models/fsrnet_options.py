# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The options of the recipe FSRNet (models/fsrnet_model.py)."""
from models.base_model import RecipeOptions
from models.values import INITS, VGG16_ADDRESS
from utils.option_types import BLOCKS, RATE, WIDTH, at_least

RELEASED_MAPS = 0, 11  # (heatmaps, parsing maps) of CelebAMask-HQ; default if there are no priors


class FSRNetOptions(RecipeOptions):
    """Options of FSRNet's network and training."""

    preset = "fsrnet_celebamask"

    @staticmethod
    def add_network_options(group):
        group.add_argument("--hmaps_ch", type=at_least(0, largest=WIDTH), default=None,
                           help="landmark heatmaps that the network estimates; default: those of --dataset_name")
        group.add_argument("--pmaps_ch", type=at_least(0, largest=WIDTH), default=None,
                           help="parsing maps that the network estimates; default: those of --dataset_name")
        group.add_argument("--tied", action="store_true",
                           help="one residual block per stage, applied several times, as in the released weights; "
                                "default: blocks with weights of their own")
        group.add_argument("--width", type=at_least(1, largest=WIDTH), default=64,
                           help="channels of the network; the prior branch has twice as many")
        group.add_argument("--enc_blocks", type=at_least(0, largest=BLOCKS), default=12,
                           help="residual blocks of the encoder")
        group.add_argument("--hourglasses", type=at_least(0, largest=64), default=2,
                           help="hourglasses of the prior branch")
        group.add_argument("--lambda_prior", type=at_least(0, float), default=1.0,
                           help="weight of the prior maps' mean squared error; 0: train without prior maps, restore "
                                "without showing or scoring them")

    @staticmethod
    def add_training_options(group):
        group.add_argument("--init_type", choices=INITS, default="kaiming",
                           help="first weights: kaiming as PyTorch makes them, or normal: N(0, 0.02)")
        group.add_argument("--lambda_pix", type=at_least(0, float), default=1.0,
                           help="weight of the fine face's mean squared error")
        group.add_argument("--lambda_coarse", type=at_least(0, float), default=1.0,
                           help="weight of the coarse face's mean squared error")
        group.add_argument("--lambda_pcp", type=at_least(0, float), default=0.0,
                           help="weight of the perceptual loss (FSRGAN: 0.1); 0 leaves it out")
        group.add_argument("--vgg16_path", default=None,
                           help=f"weights file of VGG16 for the perceptual loss, from {VGG16_ADDRESS}; "
                                "default: none, --lambda_pcp 0 does without")
        group.add_argument("--lambda_g", type=at_least(0, float), default=0.0,
                           help="weight of the generator's adversarial loss (FSRGAN: 0.001); 0: no discriminator")
        group.add_argument("--D_ch", type=at_least(1, largest=WIDTH), default=64,
                           help="channels of the discriminator's first layer")
        group.add_argument("--optimizer", choices=["adam", "rmsprop"], default="rmsprop",
                           help="optimizer of all networks: rmsprop (alpha 0.99) as published, or adam with --beta1 "
                                "and --beta2")
        group.add_argument("--d_lr", type=at_least(0, float, RATE), default=0.00025,
                           help="discriminator's learning rate")

    @staticmethod
    def unread(options):
        found = {}
        if options.optimizer != "adam":
            found |= dict.fromkeys(("beta1", "beta2"), f"--optimizer is {options.optimizer}, only adam reads it")
        without = FSRNetOptions.unread_without
        found |= without(options, "lambda_pcp", "perceptual loss", ["vgg16_path"], " (FSRGAN: 0.1)")
        found |= without(options, "lambda_g", "discriminator", ["D_ch", "d_lr", "pretrain_d_path"], " (FSRGAN: 0.001)")
        return found

    @staticmethod
    def complete(options, prior_counts):
        for name, count in zip(("hmaps_ch", "pmaps_ch"), prior_counts or RELEASED_MAPS, strict=True):
            if getattr(options, name) is None:
                setattr(options, name, count)
