# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The options of the recipe GPEN (models/gpen_model.py)."""
from models.base_model import RecipeOptions
from models.values import IR_SE50_ADDRESS, VGG19_ADDRESS
from utils.option_types import RATE, WIDTH, at_least, boolean

STAGES = ("full", "prior", "embed")
RESTORING_LOSSES = ("pix", "id", "fm", "pcp")  # --stage prior has none of them


class GPENOptions(RecipeOptions):
    """Options of GPEN's network and training."""

    preset = "gpen_blind"

    @staticmethod
    def add_network_options(group):
        group.add_argument("--stage", choices=STAGES, default="full",
                           help="what the network is: prior: the decoder alone, which generates faces; embed: a U-net "
                                "around such a decoder (--pretrain_model_path); full: the U-net from random or any "
                                "weights")
        group.add_argument("--channel_multiplier", type=at_least(1, largest=64), default=2,
                           help="factor of the network's widths above 32 pixels; released weights: 2, those of 256 "
                                "pixels: 1")
        group.add_argument("--narrow", type=at_least(0.01, float, 64), default=1.0,
                           help="factor of all of the network's widths; released weights: 1, those of 256 pixels: 0.5")
        group.add_argument("--style_dim", type=at_least(1, largest=WIDTH), default=512,
                           help="length of the latent vectors")
        group.add_argument("--keep_luma", type=boolean, nargs="?", const=True, default=False,
                           help="gives the output the luma of the input, before values are clipped, for colorization: "
                                "only the colours are the network's; released weights: off; default: off")

    @staticmethod
    def add_training_options(group):
        group.add_argument("--lambda_pix", type=at_least(0, float), default=1.0, help="weight of the smooth L1 loss")
        group.add_argument("--lambda_id", type=at_least(0, float), default=1.0,
                           help="weight of the identity loss; 0 leaves it out")
        group.add_argument("--arcface_path", default=None,
                           help="weights file of a face embedding for the identity loss: a MobileFaceNet, or IR-SE50 "
                                f"from {IR_SE50_ADDRESS}; default: none, --lambda_id 0 does without")
        group.add_argument("--lambda_fm", type=at_least(0, float), default=0.02,
                           help="weight of the paper's feature matching loss; 0 leaves it out")
        group.add_argument("--lambda_pcp", type=at_least(0, float), default=0.0,
                           help="weight of the perceptual loss; 0 leaves it out")
        group.add_argument("--vgg19_path", default=None,
                           help=f"weights file of VGG19 for the perceptual loss, from {VGG19_ADDRESS}; "
                                "default: none, --lambda_pcp 0 does without")
        group.add_argument("--lambda_r1", type=at_least(0, float), default=10.0,
                           help="weight of the discriminator's R1 regularisation; 0 leaves it out")
        group.add_argument("--r1_every", type=at_least(1), default=16,
                           help="steps from one R1 regularisation to the next")
        group.add_argument("--lambda_path", type=at_least(0, float), default=2.0,
                           help="weight of the generator's path length regularisation; 0 leaves it out")
        group.add_argument("--path_every", type=at_least(1), default=4,
                           help="steps from one path length regularisation to the next")
        group.add_argument("--decoder_lr_factor", type=at_least(0, float, 1000), default=1.0,
                           help="decoder's learning rate as a fraction of --lr, which the encoder learns with")
        group.add_argument("--d_lr", type=at_least(0, float, RATE), default=0.002, help="discriminator's learning rate")

    @staticmethod
    def unread(options):
        found = {}
        for name, of_loss in (("id", "arcface_path"), ("pcp", "vgg19_path"), ("r1", "r1_every"),
                              ("path", "path_every")):
            if not getattr(options, f"lambda_{name}"):
                found[of_loss] = f"--lambda_{name} is 0, which leaves that loss out"
        degradation = options.degradation or {"colorization": "grey"}.get(options.dataset_name)
        if degradation != "grey" or options.stage == "prior":
            found["keep_luma"] = "it is for --dataset_name colorization, whose inputs have the luma of the faces"
        if options.stage == "prior":
            losses = [name for name in RESTORING_LOSSES if getattr(options, f"lambda_{name}")]  # 0 is what it has
            found |= dict.fromkeys([*(f"lambda_{name}" for name in losses), "arcface_path", "vgg19_path"],
                                   "--stage prior trains with the adversarial loss alone")
        return found
