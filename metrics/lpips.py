"""LPIPS, a distance between pictures learned from people's judgements (Zhang et al., CVPR 2018), v0.1 on AlexNet."""
from __future__ import annotations

from importlib.resources import files

import torch
from torch import nn
from torch.nn import functional as F

from models.weights import match_weights, read_weights
from utils.errors import UserError

ALEXNET_ADDRESS = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"


class LPIPS(nn.Module):
    """Two pictures' distance, 0 for equal ones; both [N, 3, H, W], RGB in [-1, 1] -> [N]. Frozen; float32.

    At each pixel of five of AlexNet's activations: the squared difference of the two channel vectors, each of length 1,
    weighted by channel (`weights`). Averaged over pixels, summed over the five. H and W: 31 or more.
    """

    TAPS = (1, 4, 7, 9, 11)  # the ReLUs among `features`
    MEAN, STD = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # ImageNet's in [-1, 1], as LPIPS was trained with

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(  # torchvision's AlexNet (Krizhevsky 2014), numbered as there
            nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, stride=2),
            nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, stride=2),
            nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1), nn.ReLU())
        self.weights = nn.ModuleList(nn.Conv2d(self.features[tap - 1].out_channels, 1, 1, bias=False)
                                     for tap in self.TAPS)
        self.register_buffer("mean", torch.tensor(self.MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(self.STD).view(3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        if a.shape != b.shape:  # which would broadcast
            raise ValueError(f"LPIPS compares pictures of one size: got {tuple(a.shape)} and {tuple(b.shape)}.")
        x = (torch.cat([a, b]) - self.mean) / self.std
        distance = 0
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in self.TAPS:
                unit_a, unit_b = F.normalize(x, dim=1).chunk(2)
                weighted = self.weights[self.TAPS.index(i)]((unit_a - unit_b).square())
                distance = distance + weighted.mean((1, 2, 3))
        return distance


def load_lpips(path: str) -> LPIPS:
    """LPIPS with AlexNet's weights from torchvision's file at `path`; UserError, with where to get it, for any other.

    The channels' weights are those that the package torchmetrics holds.
    """
    net = LPIPS()
    learned = read_weights(files("torchmetrics") / "functional/image/lpips_models/alex.pth")
    state = {f"weights.{i}.weight": learned[f"lin{i}.model.1.weight"] for i in range(len(net.TAPS))}
    try:
        state |= {key: value for key, value in read_weights(path).items() if not key.startswith("classifier.")}
        net.load_state_dict(match_weights(net, state))
    except UserError as error:
        raise UserError(f"--lpips_path: LPIPS needs AlexNet's weights ({ALEXNET_ADDRESS}). {error}") from None
    return net
