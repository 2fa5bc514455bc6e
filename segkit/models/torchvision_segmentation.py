"""The six segmentation models of torchvision, with logits at their own stride.

torchvision's `forward` upsamples its logits to the size of the image. These stop before that, so that the
loss owns the upsampling. Modules and parameter names are torchvision's: a state dict of one loads into the other.

DeepLabV3: Chen et al. 2017, arXiv:1706.05587. FCN: Long et al. 2015, arXiv:1411.4038. LR-ASPP: Howard et al.
2019, arXiv:1905.02244. All have dilated backbones: stride 8 with ResNet, 16 with MobileNetV3 (LR-ASPP: 8).
"""

import http.client
import pickle
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn
from torchvision.models import (
    MobileNet_V3_Large_Weights,
    ResNet50_Weights,
    ResNet101_Weights,
    WeightsEnum,
    get_model,
)

from segkit.errors import ConfigError
from segkit.models.norms import overwrite_in_predictions
from segkit.registry import MODELS
from segkit.system.cpu.fp32_convolutions import in_fp32
from segkit.system.memory import lacks_memory
from segkit.types import Downloads

BackboneWeights = Annotated[Literal["none", "imagenet"], Downloads()]

IMAGENET_WEIGHTS = {
    "mobilenet_v3_large": MobileNet_V3_Large_Weights.IMAGENET1K_V1,
    "resnet50": ResNet50_Weights.IMAGENET1K_V1,
    "resnet101": ResNet101_Weights.IMAGENET1K_V1,
}


class DenseHead(nn.Module):
    """DeepLabV3 or FCN: a head on the last feature map and, with `aux`, one on an earlier map.

    forward: image (N, in_channels, H, W) -> logits (N, num_classes, h, w), or with an auxiliary head
    {"out": (N, num_classes, h, w), "aux": (N, num_classes, h', w')}, in training and in evaluation.
    """

    def __init__(
        self,
        architecture: str,
        num_classes: int,
        in_channels: int,
        *,
        aux: bool,
        weights_backbone: BackboneWeights,
    ):
        super().__init__()
        network = build_network(
            architecture, num_classes, in_channels, aux=aux, weights_backbone=weights_backbone
        )
        self.architecture = architecture
        self.backbone = network.backbone
        self.classifier = network.classifier
        self.aux_classifier = network.aux_classifier
        for head in (self.classifier, self.aux_classifier):
            if head is not None:
                in_fp32(head[-1])

    def forward(self, image: Tensor) -> Tensor | dict[str, Tensor]:
        if self.training:
            batch_size, _, height, width = image.shape
            self.check_run(batch_size=batch_size, height=height, width=width)
        features = self.backbone(image)
        out = self.classifier(features["out"])  # (N, num_classes, h, w)
        if self.aux_classifier is None:
            return out
        return {"out": out, "aux": self.aux_classifier(features["aux"])}

    def check_run(self, *, batch_size: int, height: int, width: int) -> None:
        """Raises ConfigError for training on batches of this shape if DeepLab's image-level pooling, one value per
        image and channel, meets a batch of one."""
        if batch_size == 1 and self.architecture.startswith("deeplabv3"):
            raise ConfigError(
                f"{self.architecture} cannot train on one image at a time: the batch normalisation after its "
                f"image-level pooling sees one value per channel, which has no variance\n"
                f"  -> train.batch_size: 2 or more, or a model without that pooling: fcn_*, lraspp_* or unet"
            )


class LiteReducedHead(nn.Module):
    """LR-ASPP: one head on two feature maps, logits at the stride of the finer. It has no auxiliary head.

    forward: image (N, in_channels, H, W) -> logits (N, num_classes, h, w).
    """

    def __init__(
        self, architecture: str, num_classes: int, in_channels: int, *, weights_backbone: BackboneWeights
    ):
        super().__init__()
        network = build_network(
            architecture, num_classes, in_channels, aux=False, weights_backbone=weights_backbone
        )
        self.backbone = network.backbone
        self.classifier = network.classifier
        in_fp32(self.classifier.low_classifier)
        in_fp32(self.classifier.high_classifier)

    def forward(self, image: Tensor) -> Tensor:
        return self.classifier(self.backbone(image))  # (N, num_classes, h, w)


@MODELS.register("deeplabv3_mobilenet_v3_large")
def deeplabv3_mobilenet_v3_large(
    num_classes: int, in_channels: int = 3, *, aux: bool = True, weights_backbone: BackboneWeights = "none"
) -> nn.Module:
    """DeepLabV3 on MobileNetV3-Large: 11 M parameters, stride 16."""
    name = "deeplabv3_mobilenet_v3_large"
    return DenseHead(name, num_classes, in_channels, aux=aux, weights_backbone=weights_backbone)


@MODELS.register("deeplabv3_resnet50")
def deeplabv3_resnet50(
    num_classes: int, in_channels: int = 3, *, aux: bool = True, weights_backbone: BackboneWeights = "none"
) -> nn.Module:
    """DeepLabV3 on ResNet-50: 42 M parameters, stride 8."""
    return DenseHead(
        "deeplabv3_resnet50", num_classes, in_channels, aux=aux, weights_backbone=weights_backbone
    )


@MODELS.register("deeplabv3_resnet101")
def deeplabv3_resnet101(
    num_classes: int, in_channels: int = 3, *, aux: bool = True, weights_backbone: BackboneWeights = "none"
) -> nn.Module:
    """DeepLabV3 on ResNet-101: 61 M parameters, stride 8."""
    return DenseHead(
        "deeplabv3_resnet101", num_classes, in_channels, aux=aux, weights_backbone=weights_backbone
    )


@MODELS.register("fcn_resnet50")
def fcn_resnet50(
    num_classes: int, in_channels: int = 3, *, aux: bool = True, weights_backbone: BackboneWeights = "none"
) -> nn.Module:
    """FCN on a dilated ResNet-50: 35 M parameters, stride 8."""
    name = "fcn_resnet50"
    return DenseHead(name, num_classes, in_channels, aux=aux, weights_backbone=weights_backbone)


@MODELS.register("fcn_resnet101")
def fcn_resnet101(
    num_classes: int, in_channels: int = 3, *, aux: bool = True, weights_backbone: BackboneWeights = "none"
) -> nn.Module:
    """FCN on a dilated ResNet-101: 54 M parameters, stride 8."""
    name = "fcn_resnet101"
    return DenseHead(name, num_classes, in_channels, aux=aux, weights_backbone=weights_backbone)


@MODELS.register("lraspp_mobilenet_v3_large")
def lraspp_mobilenet_v3_large(
    num_classes: int, in_channels: int = 3, *, weights_backbone: BackboneWeights = "none"
) -> nn.Module:
    """LR-ASPP on MobileNetV3-Large: 3.2 M parameters, stride 8."""
    name = "lraspp_mobilenet_v3_large"
    return LiteReducedHead(name, num_classes, in_channels, weights_backbone=weights_backbone)


def build_network(
    architecture: str, num_classes: int, in_channels: int, *, aux: bool, weights_backbone: BackboneWeights
) -> Any:
    """torchvision's network of that name, with its first convolution adapted to `in_channels`: a module whose parts
    differ by architecture."""
    if weights_backbone not in ("none", "imagenet"):
        raise ValueError(f"weights_backbone must be none or imagenet, got {weights_backbone!r}")
    weights = None
    if weights_backbone == "imagenet":
        weights = IMAGENET_WEIGHTS[architecture.split("_", 1)[1]]
        fetch(weights)  # torchvision then finds the file where this left it
    network: Any = get_model(
        architecture, weights=None, weights_backbone=weights, num_classes=num_classes, aux_loss=aux
    )
    if in_channels != 3:
        replace_first_conv(network.backbone, in_channels, pretrained=weights is not None)
    overwrite_in_predictions(network)
    return network


def replace_first_conv(backbone: nn.Module, in_channels: int, *, pretrained: bool) -> None:
    """Give the backbone's first convolution `in_channels` inputs instead of 3, in place.

    Random weights are drawn as torchvision draws them. Pretrained weights are kept: one channel takes the sum
    over R, G and B (the answer to a grey image shown as RGB); otherwise channel i takes the weights of colour
    i mod 3, times 3 / in_channels, so that the next layer sees values of the size it was trained on.
    """
    name, old = next((n, m) for n, m in backbone.named_modules() if isinstance(m, nn.Conv2d))
    shape: dict[str, Any] = {name: getattr(old, name) for name in ("kernel_size", "stride", "padding")}
    new = nn.Conv2d(in_channels, old.out_channels, **shape, bias=old.bias is not None)
    if not pretrained:
        nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    else:
        with torch.no_grad():
            if in_channels == 1:
                new.weight.copy_(old.weight.sum(dim=1, keepdim=True))
            else:
                colour = torch.arange(in_channels) % 3
                new.weight.copy_(old.weight[:, colour] * (3.0 / in_channels))
    backbone.set_submodule(name, new)


def fetch(weights: WeightsEnum) -> None:
    """Download the weights into torch.hub's cache unless they are there. Raises ConfigError if that fails."""
    path = Path(torch.hub.get_dir(), "checkpoints", weights.url.rsplit("/", 1)[1])
    try:
        weights.get_state_dict(
            progress=sys.stderr.isatty(), check_hash=True, map_location="cpu", weights_only=True
        )
    except (OSError, http.client.HTTPException, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        if lacks_memory(error):
            raise
        if path.exists():
            raise ConfigError(
                f"model.weights_backbone: imagenet: {path} cannot be read ({error})\n"
                f"  -> delete it and let it be downloaded again from {weights.url}"
            ) from error
        raise ConfigError(
            f"model.weights_backbone: imagenet needs {weights.url} and the download failed ({error})\n"
            f"  -> put the file at {path} by hand, or model.weights_backbone=none"
        ) from error
