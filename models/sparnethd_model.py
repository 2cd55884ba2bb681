# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The recipe SPARNetHD: blind restoration at 512 pixels with a multi-scale GAN (Chen et al., TIP 2020)."""
import torch
from torch.nn import functional as F

from models import loss
from models.base_model import AdamSpec
from models.init import init_weights
from models.sparnet_model import SPARNetModel
from models.sparnethd import MultiScaleDiscriminator, SPARNetHD
from models.vgg import VGG19Features, load_vgg
from utils.errors import UserError


class SPARNetHDModel(SPARNetModel):
    """Generator: lambda_pix L1 + lambda_pcp perceptual + lambda_fm feature matching + lambda_g adversarial.

    Phase G, then phase D on the same fakes. The discriminator sees the real faces once per step: phase G uses their
    features, phase D their scores. The generator's average (EMA) is released.
    """

    def build_generator(self, options):
        o = options
        self.networks["G"] = SPARNetHD(
            in_size=o.load_size, out_size=o.load_size, norm_type=o.Gnorm, min_feat_size=o.min_feat_size,
            res_depth=o.res_depth, att_name=o.att_name, bottleneck_size=o.bottleneck_size, min_ch=o.min_ch,
            max_ch=o.max_ch, hourglass_ch=o.hourglass_ch, channel_multiple=o.channel_multiple)

    def build_discriminator(self, options):
        o = options
        self.networks["D"] = MultiScaleDiscriminator(o.D_scales, o.D_ch, o.D_max_ch, o.D_layers, o.Dnorm)

    def set_up_training(self, options):
        o = options
        self.networks["G"].set_checkpointing(o.checkpointing)
        self.build_discriminator(o)
        if o.load_size < self.networks["D"].smallest:
            raise UserError(f"--D_scales {o.D_scales} --D_layers {o.D_layers} need --load_size "
                            f"{self.networks['D'].smallest} or more, not {o.load_size}: give fewer of them.")
        for net in self.networks.values():
            init_weights(net, o.init_type)
        if o.lambda_pcp:
            self.frozen = {"vgg19": load_vgg(VGG19Features, o.vgg19_path)}
        self.weights = {"pix": o.lambda_pix, "pcp": o.lambda_pcp, "fm": o.lambda_fm, "g": o.lambda_g}
        self.gan_mode = o.gan_mode
        betas = (o.beta1, o.beta2)
        self.optimizers = {"G": AdamSpec(("G",), o.lr, betas, o.weight_decay),
                           "D": AdamSpec(("D",), o.d_lr, betas, o.weight_decay)}
        self.ema_decay = {"G": o.ema_decay} if o.ema_decay else {}

    def training_step(self, batch, step):
        generator, discriminator = self.networks["G"], self.networks["D"]
        sr = generator(batch["lr"])
        discriminator.requires_grad_(True)  # another micro-batch's phase G may have left it frozen
        real = discriminator(batch["hr"])
        discriminator.requires_grad_(False)  # phase G does not train it
        fake = discriminator(sr)
        real_features, fake_features = ([features for features, _ in found] for found in (real, fake))
        losses = {"Pix": self.weights["pix"] * F.l1_loss(sr, batch["hr"]),
                  "FM": self.weights["fm"] * loss.feature_matching_loss(real_features, fake_features),
                  "G": self.weights["g"] * loss.generator_loss(self.gan_mode, [score for _, score in fake])}
        if self.frozen:
            vgg19 = self.frozen["vgg19"]
            with torch.no_grad():
                target = vgg19(batch["hr"])
            losses["Pcp"] = self.weights["pcp"] * loss.perceptual_loss(target, vgg19(sr))
        yield "G", losses
        discriminator.requires_grad_(True)
        fake = discriminator(sr.detach())
        yield "D", {"D": loss.discriminator_loss(self.gan_mode, [s for _, s in real], [s for _, s in fake])}

    def pictures(self, batch):
        """Like SPARNet's; if an average is kept, adds its results (EMA) to those of the trained weights (SR)."""
        shown = super().pictures(batch)
        if self.released("G") is not self.networks["G"]:
            shown = {"LR": shown["LR"], "SR": self.networks["G"](batch["lr"]), "EMA": shown["SR"], "HR": shown["HR"],
                     "attention": shown["attention"]}
        return shown
