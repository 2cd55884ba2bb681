# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Losses that recipes share: adversarial, feature matching, identity and perceptual losses."""
import torch
from torch.nn import functional as F


def generator_loss(kind, scores):
    """Returns the generator's adversarial loss (0-d), averaged over discriminator scales.

    scores: [[N, 1, h, w] of each scale], of fake images.

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
    """Returns the mean (0-d) of the losses on real and fake images, averaged over scales; see generator_loss."""
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


PSNR_CEILING = 40.0  # dB


def pixel_loss(kind, fake, real):
    """Returns the loss (0-d, float32) between images [N, 3, H, W] in [-1, 1]; kind: one of PIXEL_LOSSES.

    l1: the mean absolute difference. psnr: minus the mean PSNR in dB (Chen et al., ECCV 2022): every image counts
    alike, whether much or little is wrong with it, where L1 is nearly the loss of the worst. An error that would give
    PSNR_CEILING is added to each image's: nearly perfect images would otherwise have the greatest gradients of all, and
    a network that meets them learns to leave everything as it is.
    """
    if kind == "l1":
        return F.l1_loss(fake, real)
    error = (fake.float() - real).square().mean((1, 2, 3)) / 4 + 10 ** (-PSNR_CEILING / 10)  # of values in [0, 1]
    return 10 * error.log10().mean()


def feature_matching_loss(real_features, fake_features):
    """Returns L1 feature distances, summed over layers and averaged over scales (Wang et al., CVPR 2018); 0-d.

    Both arguments: [[features of each layer] of each scale]; real features get no gradient.
    """
    return sum(F.l1_loss(fake, real.detach()) for scale in zip(real_features, fake_features, strict=True)
               for real, fake in zip(*scale, strict=True)) / len(real_features)


def feature_distance(real_features, fake_features):
    """GPEN's feature matching (Yang et al., CVPR 2021, equation 4), 0-d: the L2 distances summed over the layers.

    Both arguments: [[N, C, H, W] of each layer]; real features get no gradient. Each distance is divided by the square
    root of the number of activations, so that its weight does not depend on the image size.
    """
    return sum(((fake.float() - real.detach().float()).square().mean((1, 2, 3)) + 1e-8).sqrt().mean()
               for real, fake in zip(real_features, fake_features, strict=True))


# Crop for a face embedding: rows and columns of a 256-pixel face that is aligned like FFHQ.
FACE_ROWS, FACE_COLUMNS, FACE_OF = (35, 223), (32, 220), 256


def identity_crop(faces, size):
    """Crops square faces [N, 3, S, S] for a face embedding, resized to [N, 3, *size]."""
    height, width = size
    unit = faces.shape[2] / FACE_OF
    top, bottom = (round(row * unit) for row in FACE_ROWS)
    spare = (FACE_COLUMNS[1] - FACE_COLUMNS[0]) * (1 - width / height) / 2  # if narrower than high
    left, right = round((FACE_COLUMNS[0] + spare) * unit), round((FACE_COLUMNS[1] - spare) * unit)
    crop = faces[:, :, top:bottom, left:right]
    if crop.shape[2] > height:
        return F.adaptive_avg_pool2d(crop, size)
    return F.interpolate(crop, size=size, mode="bilinear")


def identity_loss(embedding, fake, real):
    """Returns the mean over faces of 1 - cosine similarity (0-d); embedding: a FaceEmbedding."""
    with torch.no_grad():
        wanted = embedding(identity_crop(real, embedding.size))
    return (1 - (embedding(identity_crop(fake, embedding.size)) * wanted).sum(1)).mean()


def perceptual_loss(real_features, fake_features):
    """Returns the L1 distances of VGG19Features' activations, summed over layers with weight 1 (0-d)."""
    return sum(F.l1_loss(fake, real.detach()) for real, fake in zip(real_features, fake_features, strict=True))
