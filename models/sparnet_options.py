# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The options of the recipe SPARNet (models/sparnet_model.py)."""
from models.base_model import RecipeOptions
from models.values import INITS, IR_SE50_ADDRESS, PIXEL_LOSSES
from utils.option_types import BLOCKS, RATE, SIZE, WIDTH, at_least, boolean


class SPARNetOptions(RecipeOptions):
    """Options of SPARNet's network and training."""

    @staticmethod
    def add_network_options(group):
        SPARNetOptions.add_shape_options(group, min_feat_size=16)
        group.add_argument("--residual", type=boolean, nargs="?", const=True, default=False,
                           help="adds the network's input to its output, so that training starts from the input; "
                                "default: off")
        group.add_argument("--skips", type=boolean, nargs="?", const=True, default=False,
                           help="adds the encoder's features to the decoder's, and blocks after them (a U-Net): fine "
                                "detail and noise then need not pass the smallest features; default: off")

    @staticmethod
    def add_shape_options(group, min_feat_size):
        """Adds the options that SPARNet and SPARNetHD share. min_feat_size: the default of that option."""
        group.add_argument("--Gnorm", choices=["bn", "in", "none"], default="bn",
                           help="generator's normalisation: batch norm, instance norm or none")
        group.add_argument("--res_depth", type=at_least(0, largest=BLOCKS), default=10,
                           help="residual blocks in the generator's body")
        group.add_argument("--att_name", choices=["spar", "spar3d"], default="spar",
                           help="attention of each block: one map (spar), or one map per channel (spar3d)")
        group.add_argument("--bottleneck_size", type=at_least(1, largest=SIZE), default=4,
                           help="smallest feature map of an attention hourglass, in pixels")
        group.add_argument("--min_feat_size", type=at_least(1, largest=SIZE), default=min_feat_size,
                           help="smallest feature map of the generator, in pixels")
        group.add_argument("--min_ch", type=at_least(1, largest=WIDTH), default=32,
                           help="fewest channels of the generator")
        group.add_argument("--max_ch", type=at_least(1, largest=WIDTH), default=128,
                           help="most channels of the generator")
        group.add_argument("--hourglass_ch", type=at_least(1, largest=WIDTH), default=64,
                           help="channels of an attention hourglass")

    @staticmethod
    def add_training_options(group):
        SPARNetOptions.add_pixel_options(group)
        group.add_argument("--pix_loss", choices=PIXEL_LOSSES, default="l1",
                           help="pixel loss: l1 (as published), or psnr, to which every image counts alike")
        group.add_argument("--skips_lr_factor", type=at_least(0, float, 1000), default=1.0,
                           help="learning rate of what --skips adds, as a multiple of --lr: useful if the other "
                                "parts are trained already (--pretrain_model_path)")
        group.add_argument("--lambda_id", type=at_least(0, float), default=0.0,
                           help="weight of the identity loss, which expects faces aligned like FFHQ's; 0 leaves it out")
        group.add_argument("--arcface_path", default=None,
                           help="weights file of a face embedding for the identity loss: a MobileFaceNet, or IR-SE50 "
                                f"from {IR_SE50_ADDRESS}; default: none, --lambda_id 0 does without")
        group.add_argument("--lambda_pcp", type=at_least(0, float), default=0.0,
                           help="weight of the perceptual loss, the distance LPIPS or ST-LPIPS; 0 leaves it out")
        group.add_argument("--pcp_path", default=None,
                           help="weights file of LPIPS' AlexNet or of ST-LPIPS for the perceptual loss; default: none, "
                                "--lambda_pcp 0 does without")
        group.add_argument("--lambda_g", type=at_least(0, float), default=0.0,
                           help="weight of the generator's adversarial loss; 0: no discriminator")
        group.add_argument("--D_ch", type=at_least(1, largest=WIDTH // 8), default=32,
                           help="channels of the discriminator's first layer")
        group.add_argument("--d_lr", type=at_least(0, float, RATE), default=0.0004,
                           help="discriminator's learning rate")

    @staticmethod
    def add_pixel_options(group):
        """Adds the training options that SPARNet and SPARNetHD share."""
        group.add_argument("--init_type", choices=INITS, default="normal",
                           help="first weights: N(0, 0.02) as published, or kaiming, which learns faster at first")
        group.add_argument("--lambda_pix", type=at_least(0, float), default=1.0, help="weight of the pixel loss")

    @staticmethod
    def unread(options):
        without = SPARNetOptions.unread_without
        skips = {} if options.skips else {"skips_lr_factor": "--skips is off"}
        return (skips | without(options, "lambda_id", "identity loss", ["arcface_path"])
                | without(options, "lambda_pcp", "perceptual loss", ["pcp_path"])
                | without(options, "lambda_g", "discriminator", ["D_ch", "d_lr", "pretrain_d_path"]))
