# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The recipe FSRNet: coarse face, prior maps and fine face; with a GAN, FSRGAN (Chen et al., CVPR 2018)."""
import colorsys

import torch
from torch.nn import functional as F

from models import loss
from models.base_model import AdamSpec, BaseModel, RMSpropSpec
from models.fsrnet import FSRGANDiscriminator, FSRNet, batch_statistics
from models.init import INITS, init_weights
from models.sparnet_model import heat
from models.vgg import VGG16Features, load_vgg
from utils.errors import UserError
from utils.option_types import BLOCKS, RATE, WIDTH, at_least

RELEASED_MAPS = 0, 11  # (heatmaps, parsing maps) of CelebAMask-HQ; default if there are no priors


class FSRNetModel(BaseModel):
    """Generator loss: mean squared errors of the fine face (lambda_pix), coarse face (lambda_coarse) and prior maps
    (lambda_prior). FSRGAN adds the mean squared error of VGG16 features (lambda_pcp) and the adversarial loss
    (lambda_g). If lambda_g is not 0, phase D follows on the same fakes.

    Batches hold 'lr', 'hr' and 'priors': [N, hmaps_ch + pmaps_ch, H / 2, W / 2] in [-1, 1], the landmark heatmaps
    first; 'priors' is not needed if lambda_prior is 0.
    """

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
                           help=f"weights file of VGG16 for the perceptual loss, from {VGG16Features.ADDRESS}; "
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
        if not options.lambda_pcp:
            found["vgg16_path"] = "--lambda_pcp is 0, which leaves the perceptual loss out (FSRGAN: 0.1)"
        if not options.lambda_g:
            found |= dict.fromkeys(("D_ch", "d_lr", "pretrain_d_path"),
                                   "--lambda_g is 0, which leaves the discriminator out (FSRGAN: 0.001)")
        return found

    @staticmethod
    def complete(options, prior_counts):
        for name, count in zip(("hmaps_ch", "pmaps_ch"), prior_counts or RELEASED_MAPS, strict=True):
            if getattr(options, name) is None:
                setattr(options, name, count)

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
