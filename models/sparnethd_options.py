# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The options of the recipe SPARNetHD (models/sparnethd_model.py)."""
from models.base_model import RecipeOptions
from models.sparnet_options import SPARNetOptions
from models.values import GAN_LOSSES, VGG19_ADDRESS
from utils.option_types import RATE, WIDTH, at_least


class SPARNetHDOptions(RecipeOptions):
    """Options of SPARNetHD's network and training."""

    preset = "sparnethd_ffhq"

    @staticmethod
    def add_network_options(group):
        SPARNetOptions.add_shape_options(group, min_feat_size=32)
        group.add_argument("--channel_multiple", type=at_least(1, largest=WIDTH), default=1,
                           help="rounds the generator's widths down to multiples of it: 16 for accelerators; released "
                                "weights: 1")

    @staticmethod
    def add_training_options(group):
        SPARNetOptions.add_pixel_options(group)
        group.add_argument("--Dnorm", choices=["bn", "in", "none"], default="in",
                           help="discriminator's normalisation: batch norm, instance norm or none")
        group.add_argument("--D_scales", type=at_least(1, largest=16), default=3,
                           help="scales of the image that the discriminator judges")
        group.add_argument("--D_ch", type=at_least(1, largest=WIDTH), default=64,
                           help="channels of the discriminator's first layer")
        group.add_argument("--D_max_ch", type=at_least(1, largest=WIDTH), default=512,
                           help="most channels of the discriminator")
        group.add_argument("--D_layers", type=at_least(1, largest=16), default=4,
                           help="downsampling layers of the discriminator, per scale")
        group.add_argument("--checkpointing", action="store_true",
                           help="activation checkpointing in the generator: less memory for a third more arithmetic; "
                                "default: off")
        group.add_argument("--gan_mode", choices=GAN_LOSSES, default="hinge",
                           help="form of the adversarial loss of generator and discriminator")
        group.add_argument("--lambda_pcp", type=at_least(0, float), default=1.0,
                           help="weight of the perceptual loss; 0 leaves it out")
        group.add_argument("--vgg19_path", default=None,
                           help=f"weights file of VGG19 for the perceptual loss, from {VGG19_ADDRESS}; "
                                "default: none, --lambda_pcp 0 does without")
        group.add_argument("--lambda_fm", type=at_least(0, float), default=10.0,
                           help="weight of the generator's feature matching loss")
        group.add_argument("--lambda_g", type=at_least(0, float), default=1.0,
                           help="weight of the generator's adversarial loss")
        group.add_argument("--d_lr", type=at_least(0, float, RATE), default=0.0004,
                           help="discriminator's learning rate")

    @staticmethod
    def unread(options):
        return SPARNetHDOptions.unread_without(options, "lambda_pcp", "perceptual loss", ["vgg19_path"])
