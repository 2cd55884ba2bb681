"""Layers of StyleGAN2 (Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020).

Plain torch operators, which every device has and which differentiate twice (R1, path length). All pictures are
[N, C, H, W], contiguous or channels_last. Module and parameter names follow the released checkpoints.

What half precision (O1, O2) must not touch is computed in float32 whatever the type of the parameters: the linear
layers and so the latents, styles and demodulation, the standard deviation over the batch, and the sum of the RGB
pictures.
"""
import torch
from torch import nn
from torch.nn import functional as F

from models.base_model import PrecisionNeeds
from models.precision import widened, without_autocast

SLOPE = 0.2  # of the leaky ReLU
GAIN = 2 ** 0.5  # after it, so that it keeps the variance
FIR = (1.0, 3.0, 3.0, 1.0)


def memory_of(x):
    """`x`, for the result to be written to, where nothing goes backward and nothing is recorded; else None.

    The system has to clear a large picture's new memory first, which takes longer than most of what is written there.
    A compiled or exported network finds its memory by itself, and ONNX has no operators that overwrite.
    """
    recorded = torch.is_grad_enabled() or torch.compiler.is_compiling() or torch.jit.is_tracing()
    return None if recorded else x


def upfirdn2d(x, kernel, up=1, down=1, pad=(0, 0)):
    """Insert `up` - 1 zeros after each pixel, pad with zeros, convolve with `kernel`, keep every `down`-th pixel.

    kernel: [K, K], convolved (that is, flipped) with every channel; pad: (before, after) in pixels of the enlarged
    picture, the same for rows and columns; a negative one cuts off. No zero is really inserted: enlarging is a
    transposed depthwise convolution of the small picture, the rest a depthwise one that computes no dropped pixel.
    """
    size, channels = kernel.shape[0], x.shape[1]
    kernel = kernel.to(dtype=x.dtype).expand(channels, 1, size, size)
    if up > 1:
        x = F.conv_transpose2d(x, kernel, stride=up, groups=channels)
        # That is the picture convolved with pad size - 1 on both sides, but for the zeros after the last pixel.
        before, after = pad[0] - size + 1, pad[1] + up - size
        return F.pad(x, (before, after) * 2)[:, :, ::down, ::down]
    if pad[0] != pad[1] or pad[0] < 0:
        x, pad = F.pad(x, pad * 2), (0, 0)
    return F.conv2d(x, kernel.flip(2, 3), stride=down, padding=pad[0], groups=channels)


class Resample(PrecisionNeeds, nn.Module):
    """upfirdn2d with the blur [1, 3, 3, 1] in both directions, `gain` being its sum."""

    float32_buffers = ("kernel",)  # in O2, too: some are applied to the RGB pictures, which stay in float32

    def __init__(self, up=1, down=1, pad=(0, 0), gain=1):
        super().__init__()
        self.up, self.down, self.pad = up, down, pad
        fir = torch.tensor(FIR)
        self.register_buffer("kernel", gain * fir.outer(fir) / fir.sum() ** 2)

    def forward(self, x):
        return upfirdn2d(x, self.kernel, self.up, self.down, self.pad)


class PixelNorm(nn.Module):
    """Divide each vector of [N, C] by the root of the mean of its squares; float32 for half."""

    def forward(self, x):
        x = widened(x)
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


class EqualLinear(PrecisionNeeds, nn.Module):
    """[N, c_in] -> [N, c_out], in float32 where input or weights are half, with a learning rate equalised at run time.

    Weights are N(0, 1) / lr_mul and are multiplied by lr_mul / sqrt(c_in) in use (Karras et al., ICLR 2018).
    activate: a leaky ReLU, times sqrt 2, follows.
    """

    float32_parameters = True  # in O2, too: the latents pass through nine of these layers and bend everything after

    def __init__(self, c_in, c_out, bias_init=0.0, lr_mul=1.0, activate=False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(c_out, c_in) / lr_mul)
        self.bias = nn.Parameter(torch.full((c_out,), float(bias_init)))
        self.scale, self.lr_mul, self.activate = lr_mul / c_in ** 0.5, lr_mul, activate

    def forward(self, x):
        # The few vectors are scaled, not the many weights.
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
        return F.conv2d(x, self.weight * self.scale, stride=self.stride, padding=self.padding)


class BiasedLeakyReLU(nn.Module):
    """sqrt 2 times the leaky ReLU of gain * x + bias, the gain being [N, C] or 1; without gradients it overwrites x."""

    def __init__(self, channels):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x, gain=None):
        # The ReLU is homogeneous: sqrt 2 goes into gain and bias, so that the picture is gone through twice only. In
        # place is safe, as neither a sum nor a product needs its result to go backward.
        bias = (self.bias * GAIN).to(dtype=x.dtype)[:, None, None]
        if gain is None:
            y = torch.add(bias, x, alpha=GAIN, out=memory_of(x))
        else:
            y = torch.addcmul(bias, x, (gain * GAIN).to(dtype=x.dtype)[:, :, None, None], out=memory_of(x))
        return F.leaky_relu(y, SLOPE, inplace=True)


class ConvLayer(nn.Sequential):
    """Convolution [N, c_in, H, W] -> [N, c_out, H, W], or H / 2 and W / 2 where downsample.

    That is after a blur. activate=False: without the biased leaky ReLU.
    """

    def __init__(self, c_in, c_out, size, downsample=False, activate=True):
        layers = []
        if downsample and size == 1:  # dropping pixels first is the same, for a quarter of the work
            layers = [Resample(down=2, pad=(1, 1)), EqualConv2d(c_in, c_out, 1)]
        elif downsample:
            layers = [Resample(pad=(2, 2)), EqualConv2d(c_in, c_out, size, stride=2)]
        else:
            layers = [EqualConv2d(c_in, c_out, size, padding=size // 2)]
        super().__init__(*layers, *([BiasedLeakyReLU(c_out)] if activate else []))


class Modulated(nn.Module):
    """What modulated convolutions share: weights [1, c_out, c_in, size, size] and the layer that makes the style."""

    def __init__(self, c_in, c_out, size, style_dim, blur=None):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, c_out, c_in, size, size))
        self.scale = (c_in * size ** 2) ** -0.5  # of the equalised learning rate
        self.blur = blur
        self.modulation = EqualLinear(style_dim, c_in, bias_init=1)

    def kernel(self):
        """The weights as torch takes them: [c_out, c_in, size, size], or [c_in, c_out, ...] for a transposed one."""
        weight = self.weight.squeeze(0)
        return weight if self.blur is None else weight.transpose(0, 1)

    def _apply(self, function, recurse=True):
        # The released shape has five dimensions, which .to(memory_format=torch.channels_last) refuses. So it is given
        # the four of the kernel, in the order that the convolution takes without copying them.
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
        """(style [N, c_in], demodulation [N, c_out]) of a latent [N, style_dim], both in float32 for half weights.

        The style is divided by its largest value and by the largest norm of an output's weights, which the
        demodulation makes up for: so the convolution's sums are not larger than its input's, and no float16 overflows.
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
        """(y, demodulation): the result is y [N, c_out, H, W] times [N, c_out]; H and W doubled where upsample.

        Without gradients it overwrites x.
        """
        style, demodulation = self.modulate(latent)
        x = torch.mul(x, style.to(dtype=x.dtype)[:, :, None, None], out=memory_of(x))
        if self.blur is None:
            return F.conv2d(x, self.kernel(), padding=1), demodulation
        # The blur would go into the convolution as well, as a kernel of 6x6, but for 4 times the multiplications.
        return self.blur(F.conv_transpose2d(x, self.kernel(), stride=2)), demodulation


class Noise(nn.Module):
    """A scalar that weighs what is put beside a convolution's output."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))


class StyledConv(nn.Module):
    """Modulated convolution, with `feature` times a scalar beside it, biases and leaky ReLU.

    x [N, c_in, H, W], latent [N, style_dim], feature [N, c_out, H', W'] or None: random numbers in training, zeros
    otherwise -> [N, 2 c_out, H', W'], H' and W' being doubled where upsample. Without gradients it overwrites x.
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
        # 3 c_in weights a sample: these are scaled rather than the picture, and multiplied as matrices.
        weights = self.modulation(latent)[:, :, None] * (widened(self.kernel().flatten(1).T) * self.scale)
        rgb = x.flatten(2).transpose(1, 2) @ weights.to(dtype=x.dtype)  # no copy in either layout
        return rgb.transpose(1, 2).unflatten(2, x.shape[2:])


class ToRGB(nn.Module):
    """x [N, c_in, H, W], latent, skip [N, 3, H / 2, W / 2] or None -> RGB [N, 3, H, W], `skip` added, never half."""

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
    """Append a channel that holds the standard deviation over the batch, averaged over channels and pixels.

    [N, C, H, W] -> [N, C + 1, H, W], for any N (Karras et al., "Progressive Growing of GANs", ICLR 2018).
    """

    def forward(self, x):
        deviation = torch.sqrt(widened(x).var(0, correction=0) + 1e-8).mean()
        return torch.cat([x, deviation.to(dtype=x.dtype).expand(x.shape[0], 1, *x.shape[2:])], 1)
