# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""A recipe's network as deployment wants it: the same function, with everything constant computed in advance.

Training's modules are copied, never changed. In the copy
- spectral norm is evaluated once: the kernels become plain parameters;
- batch norm that follows a convolution is folded into its kernel and bias;
- a nearest x2 upsampling with a convolution becomes a 2x2 convolution to four phases and a pixel shuffle;
- GPEN's equalised weights, blur kernels and demodulation norms become constants (deploy/gpen_form.py);
- FSRNet returns the restored face alone, without the maps' heads.
"""
from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import functional as F

from deploy.gpen_form import RGB, GPENForm
from models.base_model import BaseModel
from models.blocks import ConvLayer, InstanceNorm, Norm, UpConv2d
from models.fsrnet import FSRNet, PriorHourGlass
from models.gpen import GPEN
from models.spectral_norm import remove_spectral_norm

FLOAT32 = (nn.Linear, RGB)  # layers that HalfForm leaves in float32


def export_form(recipe: BaseModel) -> nn.Module:
    """Returns the inference form of the network that `recipe` restores with: a new module in eval mode, on the CPU.

    Its forward takes [N, 3, S, S], float32 RGB in [-1, 1], and returns the restored faces, likewise, not clipped. It
    equals recipe.restore, except for a tied FSRNet at more than one face: see `restores_by_batch`.
    recipe: in eval mode, as the Restorer loads it.
    """
    recipe.check_restores()
    network = recipe.released("G")
    if isinstance(network, GPEN):
        form = GPENForm(network)
    elif isinstance(network, FSRNet):
        form = _FSRNetForm(network)
    else:
        form = copy.deepcopy(network)
    form = form.to("cpu", memory_format=torch.contiguous_format).float().eval()
    remove_spectral_norm(form)
    _simplify(form)
    return form.requires_grad_(False)


def restores_by_batch(recipe: BaseModel) -> bool:
    """Returns whether recipe.restore normalises by the statistics of the batch, so that faces affect each other.

    That is so for FSRNet with tied blocks. Its export form normalises each face by itself, which equals a batch of one
    at any batch size. (Its network in eval mode is another function: running statistics of tied blocks are useless.)
    """
    network = recipe.released("G")
    return isinstance(network, FSRNet) and bool(network.norms_by_batch())


class HalfForm(nn.Module):
    """An export form in float16 with float32 input and output.

    Layers of the types FLOAT32 stay in float32, as in training with O2: GPEN's latents pass through nine linear layers,
    and their rounding would affect every other layer.
    """

    def __init__(self, form: nn.Module) -> None:
        super().__init__()
        self.form = copy.deepcopy(form).half()
        for module in self.form.modules():
            if isinstance(module, FLOAT32):
                module.float()
        self.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.form(x.half()).float()


class _FSRNetForm(nn.Module):
    """FSRNet's restored face. A network that normalises by the batch gets instance norm: the batch of one."""

    def __init__(self, network: FSRNet) -> None:
        super().__init__()
        by_batch = bool(network.norms_by_batch())
        network = copy.deepcopy(network)
        self.csr_net, self.fsr_enc, self.pre_net, self.fsr_dec = (
            network.csr_net, network.fsr_enc, network.pre_net, network.fsr_dec)
        if by_batch:
            _replace(self, nn.BatchNorm2d, _instance_norm)
        _replace(self, PriorHourGlass, _HourGlassForm)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        coarse = self.csr_net(x)
        return self.fsr_dec(torch.cat([self.fsr_enc(coarse), self.pre_net(coarse)], 1))


class _HourGlassForm(PriorHourGlass):
    """PriorHourGlass that doubles by a constant factor: a size computed from the input's shape hinders compilers."""

    def __init__(self, network: PriorHourGlass) -> None:
        nn.Module.__init__(self)
        for name, module in network.named_children():
            self.add_module(name, module)

    def _level(self, level, x):
        if level == 0:
            return self.res_center(x)
        same, before, after = (getattr(self, f"res{level}_{place}") for place in (1, 2, 3))
        low = after(self._level(level - 1, before(F.max_pool2d(x, 2))))
        return same(x) + F.interpolate(low, scale_factor=2.0, mode="nearest")


class PhaseConv2d(nn.Module):
    """UpConv2d with constant weights: a 2x2 convolution gives the four phases of the doubled image, then a shuffle.

    As many multiplications as the transposed convolution of models/blocks.py, in operators that every runtime has fast
    and quantises.
    """

    def __init__(self, layer: UpConv2d) -> None:
        super().__init__()
        c_out, c_in = layer.weight.shape[:2]
        # Along one axis, the pixels beside 2i - 1/2 of the doubled image are an odd one that sees (a, b + c) and an
        # even one that sees (a + b, c) of the neighbours i - 1 and i: `axis` is [phase, neighbour, tap].
        axis = torch.tensor([[[1.0, 1, 0], [0, 0, 1]], [[1.0, 0, 0], [0, 1, 1]]], dtype=torch.float64)
        kernel = torch.einsum("oiyx,pmy,qnx->opqimn", layer.weight.detach().double(), axis, axis)
        bias = layer.bias is not None
        self.conv = nn.Conv2d(c_in, 4 * c_out, 2, bias=bias)
        self.conv.weight = nn.Parameter(kernel.reshape(4 * c_out, c_in, 2, 2).float())
        if bias:
            self.conv.bias = nn.Parameter(layer.bias.detach().repeat_interleave(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.pad(x, (1, 1, 1, 1), mode="replicate")
        return F.pixel_shuffle(self.conv(x), 2)[:, :, 1:-1, 1:-1]


def _simplify(form: nn.Module) -> None:
    """Folds batch norms, then replaces upsampling convolutions and this project's instance norm."""
    for module in form.modules():
        if isinstance(module, ConvLayer) and isinstance(module.norm, Norm):
            if _fold(module.conv2d, module.norm.norm):
                module.norm = nn.Identity()
        elif isinstance(module, nn.Sequential):
            for place in range(len(module) - 1):
                if _fold(module[place], module[place + 1]):
                    module[place + 1] = nn.Identity()
    _replace(form, UpConv2d, PhaseConv2d)
    _replace(form, InstanceNorm, _instance_norm)


def _fold(conv: nn.Module, norm: nn.Module) -> bool:
    """Folds a batch norm with running statistics into the convolution before it; returns whether the two are such."""
    if not (isinstance(conv, nn.Conv2d | nn.ConvTranspose2d) and isinstance(norm, nn.BatchNorm2d)):
        return False
    # In float64, because the network computes the two one after the other: each rounding here would be one more.
    scale = norm.weight.detach().double() / (norm.running_var.double() + norm.eps).sqrt()
    shape = (1, -1, 1, 1) if isinstance(conv, nn.ConvTranspose2d) else (-1, 1, 1, 1)
    bias = 0 if conv.bias is None else conv.bias.detach().double()
    conv.weight = nn.Parameter((conv.weight.detach().double() * scale.reshape(shape)).float())
    conv.bias = nn.Parameter(((bias - norm.running_mean.double()) * scale + norm.bias.detach().double()).float())
    return True


def _instance_norm(norm: nn.BatchNorm2d | nn.InstanceNorm2d) -> nn.InstanceNorm2d:
    """Returns torch's instance norm with the weights of `norm`."""
    plain = nn.InstanceNorm2d(norm.num_features, norm.eps, affine=True)
    plain.weight, plain.bias = norm.weight, norm.bias
    return plain.eval()


def _replace(root: nn.Module, kind: type, made) -> None:
    """Replaces each module of the type `kind` below `root` by made(module); one that occurs several times, once."""
    new = {}
    for parent in list(root.modules()):
        for name, child in list(parent._modules.items()):
            if type(child) is kind:
                if child not in new:
                    new[child] = made(child)
                setattr(parent, name, new[child])
