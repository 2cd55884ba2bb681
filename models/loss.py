"""Losses that recipes share: adversarial ones, feature matching, and the perceptual loss on a VGG."""
import torch
from torch.nn import functional as F

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


def perceptual_loss(real_features, fake_features):
    """Sum over VGG19Features' activations of their L1 distance, each of weight 1 (0-d tensor)."""
    return sum(F.l1_loss(fake, real.detach()) for real, fake in zip(real_features, fake_features, strict=True))
