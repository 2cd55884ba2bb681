# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""A small network, its optimizer and training steps, for the tests of mixed precision."""
import torch
from torch.nn import functional as F

from models.init import init_weights
from models.sparnet import SPARNet
from utils import amp

LR = 1e-3


def small_net(norm_type="bn"):
    torch.manual_seed(0)
    net = SPARNet(in_size=32, out_size=32, min_ch=4, max_ch=8, hourglass_ch=4, res_depth=0, bottleneck_size=16,
                  norm_type=norm_type)
    init_weights(net)
    return net.to(memory_format=torch.channels_last)


def adam(net, lr=LR):
    return torch.optim.Adam(net.parameters(), lr=lr, betas=(0.9, 0.99), fused=True)


def pair(step):
    generator = torch.Generator().manual_seed(step)
    hr = torch.rand(4, 3, 32, 32, generator=generator) * 2 - 1
    return F.interpolate(F.avg_pool2d(hr, 8), size=(32, 32)), hr


def train(net, optimizer, steps, first=0):
    losses = []
    for step in range(first, first + steps):
        lr, hr = pair(step)
        losses.append(update(F.l1_loss(net(lr), hr), optimizer))
    return losses


def update(loss, optimizer):
    """Runs backward and one step of the optimizer. Returns the loss as a number."""
    with amp.scale_loss(loss, optimizer) as scaled:
        scaled.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
