# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Layers of StyleGAN2 (Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020).

Plain torch operators, which every device supports and which are twice differentiable (R1, path length). Images are
[N, C, H, W], contiguous or channels_last. Module and parameter names follow the released checkpoints.

These are always computed in float32, because half precision (O1, O2) would harm them: linear layers (so latents,
styles and demodulation), the standard deviation over the batch, and the sum of the RGB images.
"""
import torch
from torch import nn
from torch.nn import functional as F

from models.base_model import PrecisionNeeds
from models.convolution import conv2d, conv_transpose2d
from models.precision import widened, without_autocast

SLOPE = 0.2  # of the leaky ReLU
GAIN = 2 ** 0.5  # factor after the leaky ReLU, to keep the variance
FIR = (1.0, 3.0, 3.0, 1.0)


def memory_of(x):
    """Returns `x` as the `out` argument of an operator, or None if gradients, compilation or tracing are on.

    It avoids a new allocation: the system must clear the memory of a large image, which is slower than most operators.
    A compiled or exported network manages its memory itself, and ONNX has no in-place operators.
    """
    recorded = torch.is_grad_enabled() or torch.compiler.is_compiling() or torch.jit.is_tracing()
    return None if recorded else x


def upfirdn2d(x, kernel, up=1, down=1, pad=(0, 0)):
    """Inserts `up` - 1 zeros after each pixel, pads with zeros, convolves with `kernel`, keeps every `down`-th pixel.

    kernel: [K, K], convolved (that is, flipped) with every channel; pad: (before, after) in pixels of the enlarged
    image, the same for rows and columns; negative: crop. No zeros are really inserted: enlarging is a transposed
    depthwise convolution of the small image; the rest is a strided depthwise convolution.
    """
    size, channels = kernel.shape[0], x.shape[1]
    kernel = kernel.to(dtype=x.dtype).expand(channels, 1, size, size)
    if up > 1:
        x = F.conv_transpose2d(x, kernel, stride=up, groups=channels)
        # The result equals padding size - 1 on both sides, except for the zeros after the last pixel.
        before, after = pad[0] - size + 1, pad[1] + up - size
        return F.pad(x, (before, after) * 2)[:, :, ::down, ::down]
    if pad[0] != pad[1] or pad[0] < 0:
        x, pad = F.pad(x, pad * 2), (0, 0)
    return F.conv2d(x, kernel.flip(2, 3), stride=down, padding=pad[0], groups=channels)


class Resample(PrecisionNeeds, nn.Module):
    """upfirdn2d with the blur [1, 3, 3, 1] in both directions; `gain`: sum of the kernel."""

    float32_buffers = ("kernel",)  # also in O2: some are applied to the RGB images, which stay in float32

    def __init__(self, up=1, down=1, pad=(0, 0), gain=1):
        super().__init__()
        self.up, self.down, self.pad = up, down, pad
        fir = torch.tensor(FIR)
        self.register_buffer("kernel", gain * fir.outer(fir) / fir.sum() ** 2)

    def forward(self, x):
        return upfirdn2d(x, self.kernel, self.up, self.down, self.pad)


class PixelNorm(nn.Module):
    """Divides each vector of [N, C] by its root mean square; half becomes float32."""

    def forward(self, x):
        x = widened(x)
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


class EqualLinear(PrecisionNeeds, nn.Module):
    """[N, c_in] -> [N, c_out], in float32 if input or weights are half, with equalised learning rate.

    Weights are N(0, 1) / lr_mul and are multiplied by lr_mul / sqrt(c_in) in use (Karras et al., ICLR 2018).
    activate: adds a leaky ReLU times sqrt 2.
    """

    float32_parameters = True  # also in O2: latents pass through nine of these layers and affect everything after

    def __init__(self, c_in, c_out, bias_init=0.0, lr_mul=1.0, activate=False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(c_out, c_in) / lr_mul)
        self.bias = nn.Parameter(torch.full((c_out,), float(bias_init)))
        self.scale, self.lr_mul, self.activate = lr_mul / c_in ** 0.5, lr_mul, activate

    def forward(self, x):
        # Scaling the few input vectors is cheaper than scaling the weights.
        x, weight, bias = widened(x) * self.scale, widened(self.weight), widened(self.bias) * self.lr_mul
        with without_autocast(x):
            y = F.linear(x, weight, bias)
        return F.leaky_relu(y, SLOPE) * GAIN if self.activate else y


class EqualConv2d(nn.Module):
    """Convolution without a bias, its learning rate equalised as in EqualLinear; zero padding of size // 2, or none."""

    def __init__(self, c_in, c_out, size, stride=1, padding=0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(c_out, c_in, size, size))
        self.scale, self.stride, self.padding = (c_in * size ** 2) ** -0.5, stride, padding

    def forward(self, x):
        return conv2d(x, self.weight * self.scale, stride=self.stride, padding=self.padding)


class BiasedLeakyReLU(nn.Module):
    """sqrt 2 times the leaky ReLU of gain * x + bias, the gain being [N, C] or 1; without gradients it overwrites x."""

    def __init__(self, channels):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x, gain=None):
        # The ReLU is homogeneous: sqrt 2 goes into gain and bias, so the image is read only twice. In place is
        # safe: the backward of a sum or product does not need its result.
        bias = (self.bias * GAIN).to(dtype=x.dtype)[:, None, None]
        if gain is None:
            y = torch.add(bias, x, alpha=GAIN, out=memory_of(x))
        else:
            y = torch.addcmul(bias, x, (gain * GAIN).to(dtype=x.dtype)[:, :, None, None], out=memory_of(x))
        return F.leaky_relu(y, SLOPE, inplace=True)


class ConvLayer(nn.Sequential):
    """Convolution [N, c_in, H, W] -> [N, c_out, H, W], or [N, c_out, H / 2, W / 2] if downsample.

    downsample: blurs first. activate: adds a BiasedLeakyReLU.
    """

    def __init__(self, c_in, c_out, size, downsample=False, activate=True):
        layers = []
        if downsample and size == 1:  # dropping pixels first gives the same result for a quarter of the work
            layers = [Resample(down=2, pad=(1, 1)), EqualConv2d(c_in, c_out, 1)]
        elif downsample:
            layers = [Resample(pad=(2, 2)), EqualConv2d(c_in, c_out, size, stride=2)]
        else:
            layers = [EqualConv2d(c_in, c_out, size, padding=size // 2)]
        super().__init__(*layers, *([BiasedLeakyReLU(c_out)] if activate else []))


class Modulated(nn.Module):
    """Base of modulated convolutions: weights [1, c_out, c_in, size, size] and the layer that computes the style."""

    def __init__(self, c_in, c_out, size, style_dim, blur=None):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, c_out, c_in, size, size))
        self.scale = (c_in * size ** 2) ** -0.5  # of the equalised learning rate
        self.blur = blur
        self.modulation = EqualLinear(style_dim, c_in, bias_init=1)

    def kernel(self):
        """Returns the weights in torch's form: [c_out, c_in, size, size], or [c_in, c_out, ...] if transposed."""
        weight = self.weight.squeeze(0)
        return weight if self.blur is None else weight.transpose(0, 1)

    def _apply(self, function, recurse=True):
        # The released shape has five dimensions, which .to(memory_format=torch.channels_last) rejects. So it gets the
        # kernel's four, in the order that the convolution uses without a copy.
        def to_kernel(tensor):
            if tensor.dim() != 5:
                return function(tensor)
            if self.blur is None:
                return function(tensor[0]).unsqueeze(0)
            return function(tensor[0].transpose(0, 1)).transpose(0, 1).unsqueeze(0)
        return super()._apply(to_kernel, recurse)


class ModulatedConv2d(Modulated):
    """3x3 convolution whose weights are scaled per sample: by the style along the input, to norm 1 for each output.

    The sample's weights would be W s d with the style s and the demodulation d = (sum over (W s)^2) ** -0.5. Instead of
    making N sets of weights and a convolution of N groups of them, the input is scaled by s and the output by d: one
    convolution with the shared weights, which is the same function.
    """

    def __init__(self, c_in, c_out, style_dim, upsample=False):
        super().__init__(c_in, c_out, 3, style_dim, Resample(pad=(1, 1), gain=4) if upsample else None)

    def modulate(self, latent):
        """Returns (style [N, c_in], demodulation [N, c_out]) of a latent [N, style_dim], float32 for half weights.

        The style is divided by its largest value and by the largest norm of an output's weights, for which
        the demodulation compensates. So the convolution's sums stay as small as its input's; float16 does not overflow.
        """
        style = self.modulation(latent)
        power = widened(self.kernel()).square().sum((2, 3))
        power = power.T if self.blur is None else power  # [c_in, c_out]
        # The result does not depend on these two, nor do gradients.
        largest = style.abs().amax(1, keepdim=True).detach().clamp(min=1e-12)
        norm = power.sum(0).amax().sqrt().detach().clamp(min=1e-12)
        style = style / largest
        with without_autocast(style):
            square = style.square() @ (power / norm ** 2)
        return style / norm, torch.rsqrt(square + 1e-8 / (largest * norm * self.scale) ** 2)

    def forward(self, x, latent):
        """Returns (y [N, c_out, H, W], demodulation [N, c_out]); the result is their product; upsample doubles H and W.

        Overwrites x if gradients are off.
        """
        style, demodulation = self.modulate(latent)
        x = torch.mul(x, style.to(dtype=x.dtype)[:, :, None, None], out=memory_of(x))
        if self.blur is None:
            return conv2d(x, self.kernel(), padding=1), demodulation
        # Merging the blur into the convolution (a 6x6 kernel) would take 4 times the multiplications.
        return self.blur(conv_transpose2d(x, self.kernel(), stride=2)), demodulation


class Noise(nn.Module):
    """A learned scalar weight of the feature that is concatenated to a convolution's output."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))


class StyledConv(nn.Module):
    """Modulated convolution, concatenated with `feature` times a scalar, then biases and leaky ReLU.

    x [N, c_in, H, W], latent [N, style_dim], feature [N, c_out, H', W'] or None: random numbers in training, zeros
    otherwise -> [N, 2 c_out, H', W'], H' and W' doubled if upsample. Overwrites x if gradients are off.
    """

    def __init__(self, c_in, c_out, style_dim, upsample=False):
        super().__init__()
        self.conv = ModulatedConv2d(c_in, c_out, style_dim, upsample)
        self.noise = Noise()
        self.activate = BiasedLeakyReLU(2 * c_out)

    def forward(self, x, latent, feature=None):
        y, demodulation = self.conv(x, latent)
        if feature is None:
            feature = torch.randn_like(y) if self.training else torch.zeros_like(y)
        # Both factors are applied in one pass over the concatenation.
        gain = torch.cat([demodulation, self.noise.weight.expand_as(demodulation)], 1)
        fits = x.shape[1:] == (2 * y.shape[1], *y.shape[2:])
        y = torch.cat([y, feature.to(y.dtype)], 1, out=memory_of(x) if fits else None)
        return self.activate(y, gain)


class ModulatedRGB(Modulated):
    """1x1 convolution to 3 channels with weights scaled by the style; no demodulation."""

    def __init__(self, c_in, style_dim):
        super().__init__(c_in, 3, 1, style_dim)

    def forward(self, x, latent):
        # Only 3 c_in weights per sample: scaling them is cheaper than scaling the image.
        weights = self.modulation(latent)[:, :, None] * (widened(self.kernel().flatten(1).T) * self.scale)
        rgb = x.flatten(2).transpose(1, 2) @ weights.to(dtype=x.dtype)  # no copy in either layout
        return rgb.transpose(1, 2).unflatten(2, x.shape[2:])


class ToRGB(nn.Module):
    """x [N, c_in, H, W], latent, skip [N, 3, H / 2, W / 2] or None -> RGB [N, 3, H, W] plus `skip`, never half."""

    def __init__(self, c_in, style_dim, upsample=True):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))
        if upsample:
            self.upsample = Resample(up=2, pad=(2, 1), gain=4)
        self.conv = ModulatedRGB(c_in, style_dim)

    def forward(self, x, latent, skip=None):
        rgb = widened(self.conv(x, latent)) + widened(self.bias)
        return rgb if skip is None else rgb + self.upsample(skip)


class ResBlock(nn.Module):
    """Residual block of the discriminator: [N, c_in, H, W] -> [N, c_out, H / 2, W / 2]."""

    def __init__(self, c_in, c_out):
        super().__init__()
        self.conv1 = ConvLayer(c_in, c_in, 3)
        self.conv2 = ConvLayer(c_in, c_out, 3, downsample=True)
        self.skip = ConvLayer(c_in, c_out, 1, downsample=True, activate=False)

    def forward(self, x):
        return (self.conv2(self.conv1(x)) + self.skip(x)).div_(GAIN)


class BatchDeviation(nn.Module):
    """Appends a channel with the standard deviation over the batch, averaged over channels and pixels.

    [N, C, H, W] -> [N, C + 1, H, W], for any N (Karras et al., "Progressive Growing of GANs", ICLR 2018).
    """

    def forward(self, x):
        deviation = torch.sqrt(widened(x).var(0, correction=0) + 1e-8).mean()
        return torch.cat([x, deviation.to(dtype=x.dtype).expand(x.shape[0], 1, *x.shape[2:])], 1)
