"""Spectral normalisation of a whole network at once (Miyato et al., ICLR 2018).

It has the results and keys (weight_orig, weight_u, weight_v) of torch.nn.utils.spectral_norm, which the released
weights use. torch's version runs dozens of small operators per convolution and step. Here small matrices of one shape
are computed together. Large ones are computed one by one, in place: copying them would cost more than the overhead
(benchmarks/spectral_norm.py).
"""
import torch
from torch import nn
from torch.nn import functional as F

EPSILON = 1e-12
LARGE = 2 ** 19  # elements: a matrix of this size or more is not copied


def add_spectral_norm(net):
    """Divides every convolution's weight by its largest singular value before each call of `net`. Returns `net`.

    In training, each call runs one power iteration. Add it once, to the module that is called.
    """
    net.register_forward_pre_hook(SpectralNorm([m for m in net.modules() if isinstance(m, nn.Conv2d)]))
    return net


class SpectralNorm:
    """The forward pre-hook. It refers to the layers, so that a deep copy of a network gets its own hook."""

    def __init__(self, layers):
        self.groups = {}  # {(rows, columns) of the weight as a matrix: layers} of the small ones
        self.large = []
        for layer in layers:
            weight = layer.weight.detach()
            rows, columns = weight.flatten(1).shape
            del layer.weight
            layer.register_parameter("weight_orig", nn.Parameter(weight))
            layer.weight = weight  # not a parameter: set before each call
            layer.register_buffer("weight_u", F.normalize(torch.randn(rows), dim=0, eps=EPSILON))
            layer.register_buffer("weight_v", F.normalize(torch.randn(columns), dim=0, eps=EPSILON))
            layer.float32_buffers = ("weight_u", "weight_v")  # also in O2: half is too imprecise for the singular value
            if rows * columns < LARGE:
                self.groups.setdefault((rows, columns), []).append(layer)
            else:
                self.large.append(layer)

    def __call__(self, net, inputs):
        for layers in self.groups.values():
            u, v = (torch.stack([getattr(layer, name) for layer in layers]) for name in ("weight_u", "weight_v"))
            weights = _NormaliseTogether.apply(net.training, u, v, *(layer.weight_orig for layer in layers))
            if net.training:
                torch._foreach_copy_([layer.weight_u for layer in layers], list(u.unbind()))
                torch._foreach_copy_([layer.weight_v for layer in layers], list(v.unbind()))
            for layer, weight in zip(layers, weights, strict=True):
                layer.weight = weight
        for layer in self.large:
            layer.weight = _Normalise.apply(net.training, layer.weight_u, layer.weight_v, layer.weight_orig)


class _NormaliseTogether(torch.autograd.Function):
    """weights / (u^T W v) for convolution weights whose matrices W have one shape; u, v: [layers, rows or columns].

    In training, one power iteration updates u and v in place. Backward treats them as constants. Weights may be half;
    the arithmetic uses the dtype of u and v.
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


class _Normalise(torch.autograd.Function):
    """The same for one weight [out, in, height, width] and its u [rows] and v [columns].

    The matrix has the weight's memory order, so its columns are in another order for channels_last.
    """

    @staticmethod
    def forward(ctx, training, u, v, weight):
        matrix = _as_matrix(weight, _axes(weight)).to(u.dtype)
        kernel_v = v.view_as(weight[0])
        lying_v = _as_matrix(kernel_v[None], _axes(weight))[0]
        if training:
            lying_v = F.normalize(matrix.mT @ u, dim=0, eps=EPSILON)
            u.copy_(F.normalize(matrix @ lying_v, dim=0, eps=EPSILON))
            kernel_v.copy_(_as_weight(lying_v[None], weight[:1])[0])
        sigma = u @ (matrix @ lying_v)
        normal = weight / sigma.to(weight.dtype)
        ctx.save_for_backward(u.clone(), lying_v, sigma, normal)
        return normal

    @staticmethod
    def backward(ctx, gradient):
        u, lying_v, sigma, normal = ctx.saved_tensors
        matrix = _as_matrix(gradient, _axes(normal)).to(u.dtype)
        inner = torch.vdot(matrix.flatten(), _as_matrix(normal, _axes(normal)).to(u.dtype).flatten())
        matrix = (matrix / sigma).addr_(u * (-inner / sigma), lying_v).to(gradient.dtype)
        return None, None, None, _as_weight(matrix, normal)


def _axes(weight):
    """The axes of a weight [out, in, height, width] from the outermost in memory to the innermost, out first."""
    return (0, 1, 2, 3) if weight.is_contiguous() else (0, 2, 3, 1)


def _as_matrix(weight, axes):
    """[out, in, height, width] as [out, the rest in the order of `axes`]; no copy if this is the memory order."""
    return weight.permute(axes).flatten(1)


def _as_weight(matrix, like):
    """Inverts _as_matrix; the result has the memory order of the weight `like`."""
    axes = _axes(like)
    return matrix.view([like.shape[axis] for axis in axes]).permute([axes.index(axis) for axis in range(4)])
