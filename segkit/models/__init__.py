"""Segmentation models: `forward(image (N, C, H, W)) -> logits (N, num_classes, h, w)` at their own stride.

A model with an auxiliary head returns `{"out": logits, "aux": logits}` instead; `split_output` of the evaluation says
which other forms are understood. The size of the labels is not a model's business: the loss and the evaluation
upsample. Each file registers what it defines in `MODELS`.

    from segkit.models import UNet
    logits = UNet(num_classes=5, in_channels=3, width=32)(image)
"""

import importlib
from typing import TYPE_CHECKING, Any

#: Public name -> file; torchvision, which takes a second to import, is loaded with the first of its models only.
_HOMES = {
    "LightFPN": "light_fpn",
    "UNet": "unet",
    "deeplabv3_mobilenet_v3_large": "torchvision_segmentation",
    "deeplabv3_resnet101": "torchvision_segmentation",
    "deeplabv3_resnet50": "torchvision_segmentation",
    "fcn_resnet101": "torchvision_segmentation",
    "fcn_resnet50": "torchvision_segmentation",
    "lraspp_mobilenet_v3_large": "torchvision_segmentation",
}

__all__ = [
    "LightFPN",
    "UNet",
    "deeplabv3_mobilenet_v3_large",
    "deeplabv3_resnet50",
    "deeplabv3_resnet101",
    "fcn_resnet50",
    "fcn_resnet101",
    "lraspp_mobilenet_v3_large",
]

if TYPE_CHECKING:
    from segkit.models.light_fpn import LightFPN
    from segkit.models.torchvision_segmentation import (
        deeplabv3_mobilenet_v3_large,
        deeplabv3_resnet50,
        deeplabv3_resnet101,
        fcn_resnet50,
        fcn_resnet101,
        lraspp_mobilenet_v3_large,
    )
    from segkit.models.unet import UNet


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'segkit.models' has no attribute '{name}'")
    return getattr(importlib.import_module(f"segkit.models.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
