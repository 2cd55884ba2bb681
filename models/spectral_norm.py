"""Spectral normalisation of a whole network at once (Miyato et al., ICLR 2018).

The same numbers and the same keys (weight_orig, weight_u, weight_v) as torch.nn.utils.spectral_norm, which the released
weights were made with. That one runs some ten small operators for each convolution of each forward pass, thousands for
SPARNetHD; here matrices of one shape go through them together.
"""
import torch
from torch import nn
from torch.nn import functional as F

EPSILON = 1e-12


def add_spectral_norm(net):
    """Divide every convolution's weight of `net` by its largest singular value, anew before each call of `net`.

    In training each call makes one power iteration. To be added once, to the module that is called.
    """
    net.register_forward_pre_hook(SpectralNorm([m for m in net.modules() if isinstance(m, nn.Conv2d)]))
    return net


class SpectralNorm:
    """The hook. It refers to the layers themselves, so that a deep copy of a network has a hook of its own."""

    def __init__(self, layers):
        self.groups = {}  # {(rows, columns) of the weight as a matrix: layers}
        for layer in layers:
            weight = layer.weight.detach()
            rows, columns = weight.flatten(1).shape
            del layer.weight
            layer.register_parameter("weight_orig", nn.Parameter(weight))
            layer.weight = weight  # no parameter: written before each call
            layer.register_buffer("weight_u", F.normalize(torch.randn(rows), dim=0, eps=EPSILON))
            layer.register_buffer("weight_v", F.normalize(torch.randn(columns), dim=0, eps=EPSILON))
            layer.float32_buffers = ("weight_u", "weight_v")  # in O2, too: half would lose the singular value's digits
            self.groups.setdefault((rows, columns), []).append(layer)

    def __call__(self, net, inputs):
        for layers in self.groups.values():
            u, v = (torch.stack([getattr(layer, name) for layer in layers]) for name in ("weight_u", "weight_v"))
            weights = _Normalise.apply(net.training, u, v, *(layer.weight_orig for layer in layers))
            if net.training:
                torch._foreach_copy_([layer.weight_u for layer in layers], list(u.unbind()))
                torch._foreach_copy_([layer.weight_v for layer in layers], list(v.unbind()))
            for layer, weight in zip(layers, weights, strict=True):
                layer.weight = weight


class _Normalise(torch.autograd.Function):
    """weights / (u^T W v) for convolution weights whose matrices W have one shape; u, v: [layers, rows or columns].

    In training, u and v are replaced in place by those of one power iteration more. They count as constants backward.
    Weights may be half; the arithmetic is u's and v's.
    """

    @staticmethod
    def forward(ctx, training, u, v, *weights):
        matrices = torch.stack([weight.flatten(1) for weight in weights]).to(u.dtype)
        if training:
            v.copy_(F.normalize((matrices.mT @ u.unsqueeze(2)).squeeze(2), dim=1, eps=EPSILON))
            u.copy_(F.normalize((matrices @ v.unsqueeze(2)).squeeze(2), dim=1, eps=EPSILON))
        sigma = (u.unsqueeze(1) @ matrices @ v.unsqueeze(2)).flatten()
        normal = torch._foreach_div(list(weights), list(sigma.to(weights[0].dtype).unbind()))
        ctx.save_for_backward(u.clone(), v.clone(), sigma, *normal)
        return tuple(normal)

    @staticmethod
    def backward(ctx, *gradients):
        u, v, sigma, *normal = ctx.saved_tensors
        # d(W / s) with s = u^T W v: (g - <g, W / s> u v^T) / s
        matrices = torch.stack([gradient.flatten(1) for gradient in gradients]).to(u.dtype)
        inner = (matrices * torch.stack([weight.flatten(1) for weight in normal])).sum((1, 2))
        matrices.baddbmm_((-inner[:, None] * u).unsqueeze(2), v.unsqueeze(1)).div_(sigma[:, None, None])
        matrices = matrices.to(gradients[0].dtype)
        return None, None, None, *(m.view_as(g) for m, g in zip(matrices, gradients, strict=True))
