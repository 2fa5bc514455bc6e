"""A small, fast encoder-decoder, for a good model after minutes: residual stages and a feature pyramid.

It has the parts that real-time segmentation agrees on, in their plainest form. As in STDC (Fan et al. 2021,
arXiv:2104.13188) and BiSeNet V2 (Yu et al. 2020, arXiv:2004.02147), the size is halved before anything wide is
computed, and the logits lie at a fraction of it. What it leaves out: BiSeNet's second path for details, DDRNet's
(Hong et al. 2021, arXiv:2101.06085) and PIDNet's (Xu et al. 2022, arXiv:2206.02066) branch that stays at high
resolution throughout, auxiliary heads, pooling pyramids, and the pretraining on ImageNet of STDC, DDRNet and PIDNet.
Its way back up is the feature pyramid of Lin et al. 2017 (arXiv:1612.03144), narrowed to one channel count.

Its convolutions are plain ones: on a CPU lraspp_mobilenet_v3_large, which is made of depthwise ones and has half of
the operations, takes longer to train (docs/performance.md); on a GPU neither was timed. The size is halved by 2x2
convolutions of stride 2, which were as fast as 3x3 ones of stride 2 in residual blocks. Unlike these they keep every
output pixel in the middle of what it stands for, which is where bilinear interpolation, in the decoder and of the
logits, takes it to be; whether that makes a score better was not measured.
"""

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from segkit.errors import ConfigError
from segkit.models.norms import Norm, build_norm
from segkit.registry import MODELS
from segkit.system.cpu.fp32_convolutions import Fp32Conv2d
from segkit.types import PositiveInt

#: Channels of the stages at strides 4, 8, 16 and 32, as multiples of the width.
MULTIPLES = (1, 2, 3, 4)

Blocks = Annotated[list[PositiveInt], Field(min_length=len(MULTIPLES), max_length=len(MULTIPLES))]


@MODELS.register("light_fpn")
class LightFPN(nn.Module):
    """Residual encoder and feature pyramid, logits at stride 4; made for training within minutes.

    `width` is the number of channels at stride 4 (2, 3 and 4 times as many at strides 8, 16 and 32), `stem` that at
    stride 2, `blocks` how many residual blocks each of the four stages has, `decoder` the number of channels of the
    pyramid. `norm: group` suits batches of one or two images, `sync` is batch norm over all processes, on CUDA.

    forward: image (N, in_channels, H, W) float -> logits (N, num_classes, ceil(H/4), ceil(W/4)), any H and W from 1.
    Raises ConfigError in training if batch normalisation would see a single value per channel.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        *,
        width: PositiveInt = 48,
        stem: PositiveInt = 16,
        blocks: Blocks = [1, 2, 2, 2],  # noqa: B006 (shown as the default, never mutated)
        decoder: PositiveInt = 48,
        norm: Norm = "batch",
    ):
        super().__init__()
        if len(blocks) != len(MULTIPLES):
            raise ValueError(f"blocks must be {len(MULTIPLES)} numbers, one per stage, got {blocks}")
        channels = [width * multiple for multiple in MULTIPLES]
        self.norm = norm
        self.stem = nn.Sequential(Halve(in_channels, stem, norm), conv_norm_relu(stem, stem, norm))
        self.stages = nn.ModuleList(
            nn.ModuleList([Halve(inner, outer, norm), *(Block(outer, norm) for _ in range(count))])
            for inner, outer, count in zip([stem, *channels], channels, blocks, strict=False)
        )
        self.context = nn.Conv2d(channels[-1], channels[-1], 1)
        self.laterals = nn.ModuleList(
            nn.Sequential(nn.Conv2d(each, decoder, 1, bias=norm == "none"), build_norm(norm, decoder))
            for each in channels
        )
        self.joins = nn.ModuleList(conv_norm_relu(decoder, decoder, norm) for _ in channels[:-1])
        self.classifier = Fp32Conv2d(decoder, num_classes, 1)
        # Near zero, so that the first loss is close to log(num_classes): a wrong class count shows at once.
        nn.init.normal_(self.classifier.weight, std=0.01)

    def forward(self, image: Tensor) -> Tensor:
        if self.training:
            batch_size, _, height, width = image.shape
            self.check_run(batch_size=batch_size, height=height, width=width)
        x = self.stem(image)
        features = []  # at strides 4, 8, 16, 32
        for stage in self.stages:
            # Not one module each: called as a whole, a stage would hold its input until it ends, and what enters the
            # first one is the largest of all.
            for layer in stage.children():
                x = layer(x)
            features.append(x)
        features[-1] = x + F.relu(self.context(x.mean((2, 3), keepdim=True)))
        x = F.relu(self.laterals[-1](features.pop()), inplace=True)
        for level in range(len(features) - 1, -1, -1):
            wide = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = self.laterals[level](features.pop())
            # Cropping, not resizing to the odd size, keeps each pixel over the 2x2 pixels it came from.
            x.add_(wide[..., : x.shape[-2], : x.shape[-1]])
            del wide  # which predictions of large images have no memory for beside the convolution
            x = self.joins[level](F.relu(x, inplace=True))
        return self.classifier(x)

    def check_run(self, *, batch_size: int, height: int, width: int) -> None:
        """Raises ConfigError for training on batches of this shape if the lowest resolution is one pixel of one
        image, which has no variance to normalise by."""
        stride = 2 ** (1 + len(self.stages))
        if self.norm == "batch" and batch_size == 1 and max(height, width) <= stride:
            raise ConfigError(
                f"light_fpn with norm: batch cannot train on a single {height}x{width} image: its stride of "
                f"{stride} leaves one value per channel, which has no variance\n"
                f"  -> train.batch_size: 2 or more, or model.norm: group, or larger images"
            )


class Halve(nn.Module):
    """2x2 convolution of stride 2, normalisation, ReLU: (N, in, H, W) -> (N, out, ceil(H/2), ceil(W/2))."""

    def __init__(self, in_channels: int, out_channels: int, norm: Norm):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 2, stride=2, bias=norm == "none")
        self.norm = build_norm(norm, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        below, beside = height % 2, width % 2
        if torch.compiler.is_exporting():
            below = beside = 1  # the same: an even size has no use for it, and the terms stay short
        if below or beside:  # of an even size torch would make a copy
            x = F.pad(x, (0, beside, 0, below))  # zeros, as a padded convolution sees beyond the image
        return F.relu(self.norm(self.conv(x)), inplace=True)


class Block(nn.Module):
    """Two 3x3 convolutions, added to what came in (He et al. 2016): (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, channels: int, norm: Norm):
        super().__init__()
        self.first = conv_norm_relu(channels, channels, norm)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=norm == "none")
        self.norm = build_norm(norm, channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.second(self.first(x))).add_(x), inplace=True)


def conv_norm_relu(in_channels: int, out_channels: int, norm: Norm) -> nn.Sequential:
    """3x3 convolution, normalisation, ReLU: (N, in, H, W) -> (N, out, H, W)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=norm == "none"),
        build_norm(norm, out_channels),
        nn.ReLU(inplace=True),
    )
