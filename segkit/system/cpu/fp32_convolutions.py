"""Convolutions that a CPU does better in fp32 than in bf16: depthwise ones, and those that give logits."""

import torch
from torch import Tensor, nn


class Fp32Conv2d(nn.Conv2d):
    """A convolution that leaves autocast on a CPU: fp32 in and out.

    Depthwise, because oneDNN's backward passes are up to 5 times as slow in bf16 as in fp32, and with a stride, where
    there is no depthwise kernel for the gradient of the image, up to 30 times (findings/ has a program that shows it).
    For logits, because rounding these and their gradients to bf16 costs half a point of mean IoU in a short training
    (docs/ablation/precision.md).
    """

    def forward(self, input: Tensor) -> Tensor:
        if not torch.is_autocast_enabled("cpu") or input.device.type != "cpu":
            return super().forward(input)
        with torch.autocast("cpu", enabled=False):
            return super().forward(input.float())


def in_fp32(convolution: nn.Conv2d) -> None:
    """Make it an Fp32Conv2d: the same module, with its parameters and names."""
    convolution.__class__ = Fp32Conv2d


def depthwise_in_fp32(model: nn.Module) -> nn.Module:
    """The model, with its depthwise convolutions `in_fp32`. Subclasses of Conv2d are left as they are."""
    for module in model.modules():
        if type(module) is nn.Conv2d and 1 < module.groups == module.in_channels:
            in_fp32(module)
    return model
