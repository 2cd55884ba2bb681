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


def feature_distance(real_features, fake_features):
    """GPEN's feature matching (Yang et al., CVPR 2021, equation 4), 0-d: the L2 distances summed over the layers.

    Both: [[N, C, H, W] of each layer]; no gradient goes into the real ones. Each distance is divided by the root of the
    number of activations, so that its weight does not depend on the size of the picture.
    """
    return sum(((fake.float() - real.detach().float()).square().mean((1, 2, 3)) + 1e-8).sqrt().mean()
               for real, fake in zip(real_features, fake_features, strict=True))


# Rows and columns of a 256-pixel face, aligned as FFHQ's are, that a face embedding wants to see.
FACE_ROWS, FACE_COLUMNS, FACE_OF = (35, 223), (32, 220), 256


def identity_crop(faces, size):
    """The part that a face embedding wants to see, [N, 3, *size], of square faces [N, 3, S, S] of any size."""
    height, width = size
    unit = faces.shape[2] / FACE_OF
    top, bottom = (round(row * unit) for row in FACE_ROWS)
    spare = (FACE_COLUMNS[1] - FACE_COLUMNS[0]) * (1 - width / height) / 2  # of a crop that is narrower than high
    left, right = round((FACE_COLUMNS[0] + spare) * unit), round((FACE_COLUMNS[1] - spare) * unit)
    crop = faces[:, :, top:bottom, left:right]
    if crop.shape[2] > height:
        return F.adaptive_avg_pool2d(crop, size)
    return F.interpolate(crop, size=size, mode="bilinear")


def identity_loss(embedding, fake, real):
    """Mean over the faces of 1 - the cosine of their vectors (0-d); embedding: of models/face_embedding.py."""
    with torch.no_grad():
        wanted = embedding(identity_crop(real, embedding.size))
    return (1 - (embedding(identity_crop(fake, embedding.size)) * wanted).sum(1)).mean()


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
