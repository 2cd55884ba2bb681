# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The recipe FSRNet: coarse face, prior maps and fine face; with a GAN, FSRGAN (Chen et al., CVPR 2018)."""
import colorsys

import torch
from torch.nn import functional as F

from models import loss
from models.base_model import AdamSpec, BaseModel, RMSpropSpec
from models.fsrnet import FSRGANDiscriminator, FSRNet, batch_statistics
from models.init import init_weights
from models.sparnet_model import heat
from models.vgg import VGG16Features, load_vgg
from utils.errors import UserError


class FSRNetModel(BaseModel):
    """Generator loss: mean squared errors of the fine face (lambda_pix), coarse face (lambda_coarse) and prior maps
    (lambda_prior). FSRGAN adds the mean squared error of VGG16 features (lambda_pcp) and the adversarial loss
    (lambda_g). If lambda_g is not 0, phase D follows on the same fakes.

    Batches hold 'lr', 'hr' and 'priors': [N, hmaps_ch + pmaps_ch, H / 2, W / 2] in [-1, 1], the landmark heatmaps
    first; 'priors' is not needed if lambda_prior is 0.
    """

    def build_generator(self, options):
        o = options
        if o.load_size % 2:
            raise UserError(f"--load_size {o.load_size}: it must be even, because prior maps have half the size.")
        self.networks["G"] = FSRNet(o.hmaps_ch, o.pmaps_ch, o.tied, o.width, o.enc_blocks, o.hourglasses)
        self.maps = o.hmaps_ch, o.pmaps_ch
        self.prior_maps = self.maps if o.lambda_prior else None

    def build_discriminator(self, options):
        if options.lambda_g:
            self.networks["D"] = FSRGANDiscriminator(options.D_ch)

    def set_up_training(self, options):
        o = options
        self.build_discriminator(o)
        for net in self.networks.values():
            init_weights(net, o.init_type)
        if not self.prior_maps:
            for head in self.networks["G"].heads():  # no loss uses them: DDP would wait for their gradients
                head.requires_grad_(False)
        if o.lambda_pcp:
            self.frozen = {"vgg16": load_vgg(VGG16Features, o.vgg16_path)}
        self.weights = {"pix": o.lambda_pix, "coarse": o.lambda_coarse, "prior": o.lambda_prior, "pcp": o.lambda_pcp,
                        "g": o.lambda_g}
        self.optimizers = {role: _optimizer_spec(o, role, lr)
                           for role, lr in (("G", o.lr), ("D", o.d_lr)) if role in self.networks}
        self.ema_decay = {"G": o.ema_decay} if o.ema_decay else {}

    def training_step(self, batch, step):
        coarse, priors, fine = self.networks["G"](batch["lr"])
        losses = {"Pix": self.weights["pix"] * F.mse_loss(fine, batch["hr"]),
                  "Coarse": self.weights["coarse"] * F.mse_loss(coarse, batch["hr"])}
        if self.prior_maps:
            self._check_priors(batch)
            losses["Prior"] = self.weights["prior"] * F.mse_loss(priors, batch["priors"])
        if self.frozen:
            vgg16 = self.frozen["vgg16"]
            with torch.no_grad():
                target = vgg16(batch["hr"])[0]
            losses["Pcp"] = self.weights["pcp"] * F.mse_loss(vgg16(fine)[0], target)
        discriminator = self.networks.get("D")
        if discriminator is None:
            yield "G", losses
            return
        discriminator.requires_grad_(False)  # phase G does not train it
        losses["G"] = self.weights["g"] * loss.generator_loss("vanilla", [discriminator(fine, logits=True)])
        yield "G", losses
        discriminator.requires_grad_(True)
        real, fake = (discriminator(faces, logits=True) for faces in (batch["hr"], fine.detach()))
        yield "D", {"D": loss.discriminator_loss("vanilla", [real], [fake])}

    def _check_priors(self, batch):
        if "priors" not in batch:
            raise UserError("--lambda_prior: this --dataset_name has no prior maps. Choose one with them (celebamask, "
                            "helen, landmarks68, builtin) or train without them (--lambda_prior 0).")
        (hmaps, pmaps), found = self.maps, batch["priors"].shape[1]
        if found != hmaps + pmaps:
            raise UserError(f"--hmaps_ch {hmaps} and --pmaps_ch {pmaps} make {hmaps + pmaps} prior maps, "
                            f"the dataset has {found}: leave both options out to use the dataset's numbers.")

    def depends_on_batch(self):
        return bool(self.released("G").norms_by_batch())

    def restore(self, lr):
        return self.restore_with_priors(lr)[0]

    def restore_with_priors(self, lr):
        _, priors, fine = self._all_outputs(lr)
        return fine, priors

    def _all_outputs(self, lr):
        """Returns the released network's (coarse, priors, fine); a tied network uses batch statistics."""
        network = self.released("G")
        with batch_statistics(network.norms_by_batch()):
            return network(lr)

    def pictures(self, batch):
        coarse, priors, sr = self._all_outputs(batch["lr"])
        shown = {"LR": batch["lr"], "coarse": coarse, "SR": sr} | ({"HR": batch["hr"]} if "hr" in batch else {})
        if self.prior_maps:
            shown |= self._overlays("", sr, priors)
            if "priors" in batch:
                shown |= self._overlays("true ", batch["hr"], batch["priors"])
        return shown

    def _overlays(self, prefix, faces, priors):
        """Returns {title: faces overlaid with landmarks or parts}, for the kinds of maps that exist."""
        strengths = (F.interpolate(priors, size=faces.shape[2:], mode="bilinear") / 2 + 0.5).clamp(0, 1)
        landmarks, parts = strengths.split(self.maps, dim=1)
        shown = {}
        if landmarks.shape[1]:
            strongest = landmarks.amax(1, keepdim=True)
            shown[f"{prefix}landmarks"] = torch.lerp(faces, heat(strongest), strongest)
        if parts.shape[1]:
            shown[f"{prefix}parts"] = torch.lerp(faces, colour(parts), 0.6 * parts.amax(1, keepdim=True))
        return shown


def _optimizer_spec(options, role, lr):
    if options.optimizer == "rmsprop":
        return RMSpropSpec((role,), lr, weight_decay=options.weight_decay)
    return AdamSpec((role,), lr, (options.beta1, options.beta2), options.weight_decay)


def colour(parts):
    """Colours parts: [N, C, H, W] in [0, 1] -> RGB [N, 3, H, W] in [-1, 1], one hue per part."""
    count = parts.shape[1]
    hues = parts.new_tensor([colorsys.hsv_to_rgb(i / count, 1, 1) for i in range(count)]) * 2 - 1
    return torch.einsum("nchw,cd->ndhw", parts, hues) / parts.sum(1, keepdim=True).clamp(min=1e-6)
