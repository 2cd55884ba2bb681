# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The recipe GPEN (Yang et al., 2021): trains a StyleGAN2 prior, embeds it in a U-net, or does both at once.

The dataset sets the task: blind restoration, colorization, inpainting or segmentation to face.
"""
import numpy as np
import torch
from torch.nn import functional as F

from models import loss
from models.base_model import AdamSpec, BaseModel
from models.face_embedding import load_arcface
from models.gpen import GPEN, Discriminator
from models.gpen_options import RESTORING_LOSSES
from models.precision import in_float32
from models.vgg import VGG19Features, load_vgg
from utils.errors import UserError

MIXING = 0.9  # probability that a face of the prior mixes two styles (Karras et al., CVPR 2019)
PATH_DECAY = 0.01  # weight of the new value in the running mean path length


class GPENModel(BaseModel):
    """Generator: logistic adversarial loss, lambda_pix smooth L1, lambda_id identity, lambda_fm feature matching and
    lambda_pcp perceptual loss; --stage prior has only the adversarial loss. Phases: G; every path_every steps G_reg
    (path length, Karras et al., CVPR 2020); D on the same fakes; every r1_every steps D_reg (R1, Mescheder et al.,
    ICML 2018).

    The lazy phases run in float32 in every precision. They also step the optimizers, so learning rates and betas are
    adjusted to compensate (StyleGAN2, appendix B). The generator's average (EMA) is released.
    """

    def build_generator(self, options):
        o = options
        self.makes_faces = o.stage == "prior"
        try:
            network = GPEN(o.load_size, o.channel_multiplier, o.narrow, o.style_dim, o.keep_luma)
        except ValueError as error:
            raise UserError(f"--load_size {o.load_size} with --channel_multiplier {o.channel_multiplier} and --narrow "
                            f"{o.narrow:g}: {error}.") from None
        self.style_shape = network.generator.layers, o.style_dim
        self.networks["G"] = network

    def build_discriminator(self, options):
        self.networks["D"] = Discriminator(options.load_size, options.channel_multiplier, options.narrow)

    def set_up_training(self, options):
        o = options
        self.build_discriminator(o)
        self.weights = {"pix": o.lambda_pix, "id": o.lambda_id, "fm": o.lambda_fm, "pcp": o.lambda_pcp,
                        "r1": o.lambda_r1, "path": o.lambda_path}
        if self.makes_faces:
            self.weights |= dict.fromkeys(RESTORING_LOSSES, 0)
        self._check(o)
        self.r1_every, self.path_every = o.r1_every, o.path_every
        self.frozen = self._load_frozen(o)
        self.state = {"path_length": torch.zeros(())}
        self.optimizers = {
            "G": _adam("G", o, o.lr, o.path_every if o.lambda_path else None,
                       (("generator.", o.decoder_lr_factor),)),
            "D": _adam("D", o, o.d_lr, o.r1_every if o.lambda_r1 else None)}
        self.ema_decay = {"G": o.ema_decay} if o.ema_decay else {}

    def _check(self, o):
        if o.stage == "embed" and not (o.pretrain_model_path or o.continue_train):
            raise UserError("--stage embed: --pretrain_model_path FILE is needed: the weights of --stage prior.")
        if self.makes_faces and (o.valroot or o.val_count):
            raise UserError("--stage prior restores no faces: nothing can be validated. Leave out "
                            f"{'--valroot' if o.valroot else '--val_count'}.")

    def _load_frozen(self, o):
        frozen = {}
        if self.weights["id"]:
            frozen["arcface"] = load_arcface(o.arcface_path)
        if self.weights["pcp"]:
            frozen["vgg19"] = load_vgg(VGG19Features, o.vgg19_path)
        return frozen

    def training_step(self, batch, step):
        generator, discriminator = self.networks["G"], self.networks["D"]
        real = batch["hr"]
        given = self._styles(real) if self.makes_faces else batch["lr"]
        fake = generator(given)
        discriminator.requires_grad_(False)  # phase G does not train it
        yield "G", self._generator_losses(fake, real)
        fake = fake.detach()
        if self.weights["path"] and step % self.path_every == 0:
            yield "G_reg", {"Path": self.weights["path"] * self.path_every * self._path_penalty(given)}
        discriminator.requires_grad_(True)
        # The published loss is the sum of the real and fake terms: twice their mean.
        yield "D", {"D": 2 * loss.discriminator_loss("vanilla", [discriminator(real)], [discriminator(fake)])}
        if self.weights["r1"] and step % self.r1_every == 0:
            yield "D_reg", {"R1": self.weights["r1"] / 2 * self.r1_every * self._r1_penalty(real)}

    def _styles(self, faces):
        """Returns random styles [N, layers, style_dim]: two vectors per face with probability MIXING, else one."""
        layers, dim = self.style_shape
        first, second = faces.new_empty(2, len(faces), 1, dim).normal_()
        crossing = int(torch.randint(1, layers, ())) if torch.rand(()) < MIXING else layers  # on the host: no sync
        return torch.cat([first.expand(-1, crossing, -1), second.expand(-1, layers - crossing, -1)], 1)

    def _generator_losses(self, fake, real):
        weights, discriminator = self.weights, self.networks["D"]
        score, features = discriminator(fake, return_features=True)
        losses = {"G": loss.generator_loss("vanilla", [score])}
        if weights["pix"]:
            losses["Pix"] = weights["pix"] * F.smooth_l1_loss(fake, real)
        if weights["fm"]:
            with torch.no_grad():
                _, wanted = discriminator(real, return_features=True)
            losses["FM"] = weights["fm"] * loss.feature_distance(wanted, features)
        if weights["id"]:
            losses["Id"] = weights["id"] * loss.identity_loss(self.frozen["arcface"], fake, real)
        if weights["pcp"]:
            vgg19 = self.frozen["vgg19"]
            with torch.no_grad():
                wanted = vgg19(real)
            losses["Pcp"] = weights["pcp"] * loss.perceptual_loss(wanted, vgg19(fake))
        return losses

    def _path_penalty(self, given):
        """Mean squared deviation (0-d) of |J^T y| from its running mean; J: Jacobian of faces by latents."""
        faces, latents = in_float32(self.networks["G"], given, return_latents=True)
        noise = torch.randn_like(faces) / (faces.shape[2] * faces.shape[3]) ** 0.5
        slope, = torch.autograd.grad((faces * noise).sum(), latents, create_graph=True)
        lengths = (slope.square().sum(2).mean(1) + 1e-8).sqrt()  # the root's derivative is infinite at 0
        mean = torch.lerp(self.state["path_length"], lengths.mean(), PATH_DECAY)
        self.state["path_length"].copy_(mean.detach())
        return (lengths - mean).square().mean()

    def _r1_penalty(self, real):
        """Returns R1 (0-d): the squared norm of the scores' gradient by the face, averaged over true faces."""
        real = real.detach().requires_grad_()
        scores = in_float32(self.networks["D"], real)
        slope, = torch.autograd.grad(scores.sum(), real, create_graph=True)
        return slope.square().sum((1, 2, 3)).mean()

    def check_restores(self):
        if self.makes_faces:
            raise UserError("--stage prior: these weights generate faces and do not restore any. Embed them first: "
                            "newtrain.py --preset gpen_embed --pretrain_model_path FILE ...")

    def pictures(self, batch):
        """Returns the input (LR), results of the trained (SR) and averaged weights (EMA), and true faces (HR).

        --stage prior: faces generated from fixed random numbers, beside true faces; no LR.
        """
        given = batch["lr"]
        if self.makes_faces:
            layers, dim = self.style_shape
            z = np.random.default_rng(0).standard_normal((len(given), 1, dim), np.float32)
            given = given.new_tensor(z).expand(-1, layers, -1)
        shown = {} if self.makes_faces else {"LR": given}
        shown["SR"] = self.networks["G"](given)
        if self.released("G") is not self.networks["G"]:
            shown["EMA"] = self.released("G")(given)
        return shown | {"HR": batch["hr"]}


def _adam(role, options, lr, every, lr_factors=()):
    """Returns AdamSpec for `role`; every: steps between lazy phases, which also step it, or None."""
    ratio = every / (every + 1) if every else 1.0
    return AdamSpec((role,), lr * ratio, (options.beta1 ** ratio, options.beta2 ** ratio), options.weight_decay,
                    lr_factors=lr_factors)
