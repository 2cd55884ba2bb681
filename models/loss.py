"""Losses that recipes share: adversarial ones, feature matching, and the perceptual loss on a VGG."""
import torch
from torch import nn
from torch.nn import functional as F

from models.networks import match_weights, read_weights
from utils.errors import UserError

GAN_LOSSES = ("hinge", "lsgan", "vanilla", "wgan")


def generator_loss(kind, scores):
    """Mean over the scales' scores [N, 1, h, w] of what the generator pays for fakes that are told (0-d tensor).

    hinge and wgan: -D (Lim & Ye 2017; Arjovsky et al. 2017). lsgan: (D - 1)^2 (Mao et al. 2017). vanilla: -log
    sigmoid(D) (Goodfellow et al. 2014). Computed in float32.
    """
    return sum(_generator_term(kind, score.float()) for score in scores) / len(scores)


def _generator_term(kind, score):
    if kind == "lsgan":
        return (score - 1).square().mean()
    if kind == "vanilla":
        return F.softplus(-score).mean()
    return -score.mean()


def discriminator_loss(kind, real_scores, fake_scores):
    """Mean over the scales of half the loss on real plus half that on fake pictures (0-d); see generator_loss."""
    return sum(0.5 * (_real_term(kind, real.float()) + _fake_term(kind, fake.float()))
               for real, fake in zip(real_scores, fake_scores, strict=True)) / len(real_scores)


def _real_term(kind, score):
    return F.relu(1 - score).mean() if kind == "hinge" else _generator_term(kind, score)


def _fake_term(kind, score):
    if kind == "hinge":
        return F.relu(1 + score).mean()
    if kind == "lsgan":
        return score.square().mean()
    return F.softplus(score).mean() if kind == "vanilla" else score.mean()


def feature_matching_loss(real_features, fake_features):
    """Mean over the scales of the L1 distances summed over a scale's layers (Wang et al., CVPR 2018); 0-d tensor.

    Both: [[features of each layer] of each scale]; no gradient goes into the real ones.
    """
    return sum(F.l1_loss(fake, real.detach()) for scale in zip(real_features, fake_features, strict=True)
               for real, fake in zip(*scale, strict=True)) / len(real_features)


class VGGFeatures(nn.Module):
    """A VGG's convolutions (Simonyan & Zisserman 2015), frozen, under torchvision's keys `features.N`.

    [N, 3, H, W], RGB in [-1, 1] -> [the activations after the layers TAPS]. BLOCKS: convolutions before each pool.
    NAME: its file is what --NAME_path says; ADDRESS: where the public file is.
    """

    NAME: str
    ADDRESS: str
    BLOCKS: tuple
    TAPS: tuple
    WIDTHS = (64, 128, 256, 512, 512)
    MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

    def __init__(self):
        super().__init__()
        layers, channels = [], 3
        for width, convolutions in zip(self.WIDTHS, self.BLOCKS, strict=True):
            for _ in range(convolutions):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers[:self.TAPS[-1] + 1])
        # From [-1, 1] to ImageNet's mean 0 and deviation 1; of the code, not of the weights file.
        self.register_buffer("scale", 0.5 / torch.tensor(self.STD).view(3, 1, 1), persistent=False)
        self.register_buffer("shift", ((0.5 - torch.tensor(self.MEAN)) / torch.tensor(self.STD)).view(3, 1, 1),
                             persistent=False)
        self.requires_grad_(False).eval()

    def forward(self, x):
        x = x * self.scale + self.shift
        found = []
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in self.TAPS:
                found.append(x)
        return found


class VGG19Features(VGGFeatures):
    """What SPARNetHD was trained on: after the ReLUs of conv1_2, 2_2, 3_4 and 4_4, and conv5_4 before its ReLU."""

    NAME, ADDRESS = "vgg19", "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
    BLOCKS, TAPS = (2, 2, 4, 4, 4), (3, 8, 17, 26, 34)


class VGG16Features(VGGFeatures):
    """What FSRGAN was trained on: after the ReLU of conv5_3."""

    NAME, ADDRESS = "vgg16", "https://download.pytorch.org/models/vgg16-397923af.pth"
    BLOCKS, TAPS = (2, 2, 3, 3, 3), (29,)


def load_vgg(kind, path):
    """`kind` (VGG19Features, VGG16Features) with the weights of torchvision's file at `path`.

    UserError, with where to get it, for no file or any other one.
    """
    net = kind()
    advice = f"for the perceptual loss ({kind.ADDRESS}); --lambda_pcp 0 does without."
    if not path:
        raise UserError(f"--{kind.NAME}_path FILE is needed {advice}")
    try:
        state = {key: value for key, value in read_weights(path).items() if not key.startswith("classifier.")}
        net.load_state_dict(match_weights(net, state))
    except UserError as error:
        raise UserError(f"--{kind.NAME}_path: {kind.NAME.upper()}'s weights are needed {advice} {error}") from None
    return net


def perceptual_loss(real_features, fake_features):
    """Sum over VGG19Features' activations of their L1 distance, each of weight 1 (0-d tensor)."""
    return sum(F.l1_loss(fake, real.detach()) for real, fake in zip(real_features, fake_features, strict=True))
