# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The recipe SPARNet: L1 between the restored and the true face (Chen et al., TIP 2020); LPIPS and a GAN on request."""
import torch
from torch.nn import functional as F

from models import loss, lpips
from models.base_model import AdamSpec, BaseModel
from models.face_embedding import load_arcface
from models.init import init_weights
from models.sparnet import SKIPS, SPARNet, attention_maps
from models.sparnethd import MultiScaleDiscriminator
from utils.errors import UserError

D_SCALES = 2  # of the image that the discriminator judges


class SPARNetModel(BaseModel):
    """16 -> 128 pixels by default. Loss: lambda_pix L1 on [-1, 1] or minus PSNR (pix_loss), lambda_id identity,
    lambda_pcp LPIPS and lambda_g adversarial (hinge).

    With lambda_g 0, the default, there is no discriminator, and phase G alone.
    """

    def build_generator(self, options):
        self.networks["G"] = SPARNet(
            in_size=options.load_size, out_size=options.load_size, norm_type=options.Gnorm,
            min_feat_size=options.min_feat_size,
            res_depth=options.res_depth, att_name=options.att_name, bottleneck_size=options.bottleneck_size,
            min_ch=options.min_ch, max_ch=options.max_ch, hourglass_ch=options.hourglass_ch,
            residual=options.residual, skips=options.skips)

    def build_discriminator(self, options):
        if options.lambda_g:
            self.networks["D"] = MultiScaleDiscriminator(D_SCALES, options.D_ch, 8 * options.D_ch)
            smallest = self.networks["D"].smallest
            if options.load_size < smallest:
                raise UserError(f"--lambda_g needs --load_size {smallest} or more, not {options.load_size}.")

    def set_up_training(self, options):
        self.build_discriminator(options)
        for net in self.networks.values():
            init_weights(net, options.init_type)
        if options.residual:
            self.networks["G"].start_at_input()
        self.pix_loss = options.pix_loss
        self.weights = {name: getattr(options, f"lambda_{name}") for name in ("pix", "id", "pcp", "g")}
        if options.lambda_id:
            self.frozen["arcface"] = load_arcface(options.arcface_path)
        if options.lambda_pcp:
            if not options.pcp_path:
                raise UserError(f"--lambda_pcp needs --pcp_path FILE: LPIPS' AlexNet ({lpips.ALEXNET_ADDRESS}) or "
                                f"ST-LPIPS ({lpips.SHIFT_TOLERANT_SOURCE}); --lambda_pcp 0 does without.")
            if options.load_size < lpips.SMALLEST:
                raise UserError(f"--lambda_pcp needs --load_size {lpips.SMALLEST} or more, not {options.load_size}.")
            self.frozen["lpips"] = lpips.load_lpips(options.pcp_path, "--pcp_path")
        betas = (options.beta1, options.beta2)
        factors = {"G": tuple((prefix, options.skips_lr_factor) for prefix in SKIPS if options.skips)}
        self.optimizers = {role: AdamSpec((role,), lr, betas, options.weight_decay, lr_factors=factors.get(role, ()))
                           for role, lr in (("G", options.lr), ("D", options.d_lr)) if role in self.networks}
        self.ema_decay = {"G": options.ema_decay} if options.ema_decay else {}

    def training_step(self, batch, step):
        sr = self.networks["G"](batch["lr"])
        losses = {"Pix": self.weights["pix"] * loss.pixel_loss(self.pix_loss, sr, batch["hr"])}
        if self.weights["id"]:
            losses["Id"] = self.weights["id"] * loss.identity_loss(self.frozen["arcface"], sr, batch["hr"])
        if self.weights["pcp"]:
            losses["Pcp"] = self.weights["pcp"] * self.frozen["lpips"](sr, batch["hr"]).mean()
        discriminator = self.networks.get("D")
        if discriminator is None:
            yield "G", losses
            return
        discriminator.requires_grad_(False)  # phase G does not train it
        losses["G"] = self.weights["g"] * loss.generator_loss("hinge", _scores(discriminator(sr)))
        yield "G", losses
        discriminator.requires_grad_(True)
        real, fake = (_scores(discriminator(faces)) for faces in (batch["hr"], sr.detach()))
        yield "D", {"D": loss.discriminator_loss("hinge", real, fake)}

    def pictures(self, batch):
        with attention_maps(self.released("G")) as maps:
            sr = self.restore(batch["lr"])
        attention = list(maps.values())[-1].float().mean(1, keepdim=True)  # of the last block, at full resolution
        low, high = attention.amin((1, 2, 3), keepdim=True), attention.amax((1, 2, 3), keepdim=True)
        attention = (attention - low) / (high - low).clamp(min=1e-6)  # stretches each map to [0, 1]
        return {"LR": batch["lr"], "SR": sr, "HR": batch["hr"],
                "attention": heat(F.interpolate(attention, size=sr.shape[-2:], mode="nearest"))}


def _scores(found):
    """Returns the scores of what a MultiScaleDiscriminator returned."""
    return [score for _, score in found]


def heat(values):
    """Colours [N, 1, H, W] in [0, 1] as RGB [N, 3, H, W] in [-1, 1]: black, red, yellow, white."""
    return torch.cat([(values * 3 - band).clamp(0, 1) for band in range(3)], 1) * 2 - 1
