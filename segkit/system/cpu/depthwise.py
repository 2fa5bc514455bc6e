"""Depthwise convolutions, which a CPU computes faster in fp32 than in bf16."""

import torch
from torch import Tensor, nn


class DepthwiseInFp32(nn.Conv2d):
    """A convolution with as many groups as channels that leaves autocast on a CPU: fp32 in and out.

    oneDNN's backward passes of such convolutions are up to 5 times as slow in bf16 as in fp32, and with a stride, where
    there is no depthwise kernel for the gradient of the image, up to 30 times (findings/ has a program that shows it).
    There is little arithmetic in them to win anything on.
    """

    def forward(self, input: Tensor) -> Tensor:
        if not torch.is_autocast_enabled("cpu") or input.device.type != "cpu":
            return super().forward(input)
        with torch.autocast("cpu", enabled=False):
            return super().forward(input.float())


def depthwise_in_fp32(model: nn.Module) -> nn.Module:
    """The model, whose depthwise convolutions have become DepthwiseInFp32: the same modules, parameters and names.

    Subclasses of Conv2d are left as they are.
    """
    for module in model.modules():
        if type(module) is nn.Conv2d and 1 < module.groups == module.in_channels:
            module.__class__ = DepthwiseInFp32
    return model
