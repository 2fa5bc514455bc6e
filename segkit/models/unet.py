"""U-Net for images of any size and any number of channels.

Ronneberger, Fischer, Brox: U-Net: Convolutional Networks for Biomedical Image Segmentation, MICCAI 2015
(arXiv:1505.04597). Kept from the paper: two 3x3 convolutions per stage, channels doubled at each halving of
the size, skips joined by concatenation, dropout at the end of the contracting path. Changed, as has become
usual: padded convolutions, so that the logits have the size of the image, and normalisation before each ReLU.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segkit.errors import ConfigError
from segkit.models.norms import Norm, build_norm
from segkit.registry import MODELS
from segkit.system.cpu.fp32_convolutions import Fp32Conv2d
from segkit.types import Fractional, PositiveInt


@MODELS.register("unet")
class UNet(nn.Module):
    """U-Net, logits at full resolution, any image size and number of channels (Ronneberger et al. 2015).

    `width` is the number of channels at full resolution, `depth` the number of downsamplings (each doubles
    the channels), `dropout` the share of channels dropped at the lowest resolution. `norm: group` suits
    batches of one or two images, `none` is the paper's, `sync` is batch norm over all processes, on CUDA.

    forward: image (N, in_channels, H, W) float -> logits (N, num_classes, H, W), for any H and W from 1.
    Raises ConfigError in training if batch normalisation would see a single value per channel.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        *,
        width: PositiveInt = 32,
        depth: PositiveInt = 4,
        norm: Norm = "batch",
        dropout: Fractional = 0.0,
    ):
        super().__init__()
        if width < 1 or depth < 1:
            raise ValueError(f"width and depth must be at least 1, got {width} and {depth}")
        channels = [width * 2**level for level in range(depth + 1)]
        self.norm = norm
        self.stem = double_conv(in_channels, width, norm)
        self.downs = nn.ModuleList(Down(c, 2 * c, norm) for c in channels[:-1])
        self.dropout = nn.Dropout2d(dropout)
        self.ups = nn.ModuleList(Up(c, norm) for c in reversed(channels[1:]))
        self.classifier = Fp32Conv2d(width, num_classes, 1)
        self._initialise()

    def forward(self, image: Tensor) -> Tensor:
        if self.training:
            batch_size, _, height, width = image.shape
            self.check_run(batch_size=batch_size, height=height, width=width)
        x = self.stem(image)  # (N, width, H, W)
        skips = []
        for down in self.downs:
            skips.append(x)
            x = down(x)  # (N, 2c, ceil(h/2), ceil(w/2))
        x = self.dropout(x)
        for up in self.ups:
            x = up(x, skips.pop())  # (N, c/2, h, w of the skip)
        return self.classifier(x)  # (N, num_classes, H, W)

    def _initialise(self) -> None:
        """Kaiming normal by fan-in (the paper's choice) wherever a ReLU follows; gain 1 where none does.

        The classifier starts near zero, so that the first loss is close to log(num_classes): a wrong label
        map or class count shows at iteration 1.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                followed_by_relu = module.kernel_size == (3, 3)
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu" if followed_by_relu else "linear")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.classifier.weight, std=0.01)

    def check_run(self, *, batch_size: int, height: int, width: int) -> None:
        """Raises ConfigError for training on batches of this shape if the lowest resolution is one pixel of one
        image, which has no variance to normalise by."""
        depth = len(self.downs)
        if self.norm == "batch" and batch_size == 1 and max(height, width) <= 2**depth:
            raise ConfigError(
                f"unet with norm: batch cannot train on a single {height}x{width} image: its {depth} "
                f"downsamplings leave one value per channel, which has no variance\n"
                f"  -> train.batch_size: 2 or more, or model.norm: group, or a smaller model.depth"
            )


class Down(nn.Sequential):
    """Halve the size, then two convolutions: (N, C, H, W) -> (N, out, ceil(H/2), ceil(W/2))."""

    def __init__(self, in_channels: int, out_channels: int, norm: Norm):
        # ceil_mode keeps the last row and column of an odd size, and a size of 1 stays 1.
        super().__init__(nn.MaxPool2d(2, ceil_mode=True), double_conv(in_channels, out_channels, norm))


class Up(nn.Module):
    """Double the size, join the skip, two convolutions: (N, C, h, w), (N, C/2, H, W) -> (N, C/2, H, W).

    The upsampling is a 1x1 convolution that halves the channels, then bilinear interpolation. The two
    commute, and in this order both run on the fewest elements: 1.6 to 4 times as fast as the paper's 2x2
    transposed convolution on a CPU in channels_last, and without its checkerboard.
    """

    def __init__(self, in_channels: int, norm: Norm):
        super().__init__()
        self.reduce = nn.Conv2d(in_channels, in_channels // 2, 1, bias=False)
        self.conv = double_conv(in_channels, in_channels // 2, norm)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        height, width = skip.shape[-2:]
        x = F.interpolate(self.reduce(x), scale_factor=2, mode="bilinear", align_corners=False)
        _keep_gradient_dense(x)
        # Cropping, not resizing to the odd size, keeps each pixel over the 2x2 pixels it was pooled from.
        x = torch.cat([skip, x[..., :height, :width]], dim=1)  # and the half that was resized is freed
        return self.conv(x)


def _keep_gradient_dense(x: Tensor) -> None:
    """Has the gradient of a channels_last tensor that is joined to another come in memory of its own.

    From `torch.cat` it comes as a part of a larger one, and resizing such a part backwards goes to the other memory
    format and back: six times as long on a CPU.
    """
    if (
        x.requires_grad
        and x.is_contiguous(memory_format=torch.channels_last)
        and not torch.compiler.is_compiling()
    ):
        x.register_hook(lambda gradient: gradient.contiguous(memory_format=torch.channels_last))


def double_conv(in_channels: int, out_channels: int, norm: Norm) -> nn.Sequential:
    """Twice 3x3 convolution, normalisation, ReLU: (N, in, H, W) -> (N, out, H, W)."""
    layers = []
    for channels in (in_channels, out_channels):
        # A normalisation has its own shift, so the convolution needs a bias only without one.
        layers += [
            nn.Conv2d(channels, out_channels, 3, padding=1, bias=norm == "none"),
            build_norm(norm, out_channels),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)
