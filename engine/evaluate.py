"""Restore the faces of a loader and score them under named protocols; used by validation and newtest.py."""
import numpy as np
import torch

from metrics.psnr_ssim import mean, psnr, score, ssim
from utils.images import to_tensor_range


def to_device(batch, device):
    """{name: float32 NCHW RGB in [-1, 1] on `device`} of a loader's batch; the bytes travel as uint8."""
    return {name: to_tensor_range(value.to(device, non_blocking=True))
            for name, value in batch.items() if torch.is_tensor(value)}


@torch.no_grad()
def restore_all(recipe, loader, device):
    """Yield (batch, sr, priors) for every batch of `loader`: float32 on the CPU, sr NCHW RGB about [-1, 1].

    priors: the maps that the recipe estimates (models/base_model.py), or None. The networks restore in eval mode and
    are put back into the mode they were in.
    """
    modes = {net: net.training for net in recipe.released_networks().values()}
    for net in modes:
        net.eval()
    try:
        for batch in loader:
            if batch["index"]:
                sr, priors = recipe.restore_with_priors(to_device(batch, device)["lr"])
                yield batch, sr.float().cpu(), None if priors is None else priors.float().cpu()
            else:  # every file of it was damaged
                yield batch, torch.empty(0), None
    finally:
        for net, training in modes.items():
            net.train(training)


def score_faces(sr, batch, protocols):
    """[{protocol: {'sr': (psnr, ssim), 'bicubic': (psnr, ssim)}}] for each face of a batch that has 'hr'.

    The bicubic row is the network's input. Faces that replaced a damaged file are left out.
    """
    rows = []
    for i, replaced in enumerate(batch["replaced"]):
        if replaced:
            continue
        hr, lr = np.asarray(batch["hr"][i]), np.asarray(batch["lr"][i])
        rows.append({p: {"sr": score(sr[i], hr, p), "bicubic": (psnr(lr, hr, p), ssim(lr, hr, p))}
                     for p in protocols})
    return rows


def average(rows, protocol, which):
    """(mean PSNR in dB, mean SSIM) over the faces of score_faces' rows."""
    return mean([row[protocol][which] for row in rows])
