# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Batch normalisation over all ranks' batches (--sync_bn)."""
import torch
import torch.distributed as dist
from torch import nn

import utils.device
from utils import distributed
from utils.errors import UserError


def require_batch_norm(nets):
    """Raises UserError, naming --sync_bn, if no network has a batch norm."""
    if not any(isinstance(module, nn.BatchNorm2d) for net in nets for module in net.modules()):
        raise UserError("--sync_bn: the networks of this training have no batch norm; leave it out.")


def synchronise_batch_norm(net, device):
    """Replaces every BatchNorm2d and returns the network; its state dict is unchanged."""
    if utils.device.has_sync_batch_norm(device):
        return nn.SyncBatchNorm.convert_sync_batchnorm(net)
    for name, child in net.named_children():
        if isinstance(child, nn.BatchNorm2d):
            twin = PlainSyncBatchNorm(child.num_features, child.eps, child.momentum, child.affine)
            twin.load_state_dict(child.state_dict())
            setattr(net, name, twin)
        else:
            synchronise_batch_norm(child, device)
    return net


class PlainSyncBatchNorm(nn.BatchNorm2d):
    """SyncBatchNorm in plain operators, for devices that torch.nn.SyncBatchNorm does not support.

    Input and output: [N, C, H, W], any floating-point dtype, the same N on every rank. Statistics are float32. The
    ranks' means and variances are combined as in Chan et al. (1979): one collective in forward and one in backward.
    """

    def forward(self, x):
        if not self.training or distributed.world_size() == 1:
            return super().forward(x)
        wide = x.float()
        variances, means = _AllGather.apply(torch.stack(torch.var_mean(wide, (0, 2, 3), correction=0))).unbind(1)
        mean = means.mean(0)
        variance = variances.mean(0) + (means - mean).square().mean(0)
        with torch.no_grad():
            count = distributed.world_size() * x.numel() // x.shape[1]
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        shift = self.bias - mean * scale
        return (wide * scale[:, None, None] + shift[:, None, None]).to(x.dtype)


class _AllGather(torch.autograd.Function):
    """[...] -> [ranks, ...]. Backward sums, over all ranks, the gradients of this rank's part."""

    @staticmethod
    def forward(ctx, mine):
        gathered = [torch.empty_like(mine) for _ in range(distributed.world_size())]
        dist.all_gather(gathered, mine.contiguous())
        return torch.stack(gathered)

    @staticmethod
    def backward(ctx, gradient):
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total[distributed.rank()]
