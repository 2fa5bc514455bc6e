"""The normalisation layers that a model of ours can be built with."""

from typing import Literal

import torch
from torch import Tensor, nn

from segkit.system.cpu.followed import is_followed

Norm = Literal["batch", "group", "none", "sync"]


def build_norm(norm: Norm, channels: int) -> nn.Module:
    """The normalisation layer of that name, for what nothing else reads: of a convolution, say, whose output goes
    nowhere else. Group: 8 groups if each gets at least 2 channels, else one."""
    if norm == "batch":
        return OverwritingBatchNorm2d(channels)
    if norm == "sync":
        return nn.SyncBatchNorm(channels)
    if norm == "group":
        return nn.GroupNorm(8 if channels >= 16 and channels % 8 == 0 else 1, channels)
    if norm == "none":
        return nn.Identity()
    raise ValueError(f"norm must be batch, group or none, got {norm!r}")


class OverwritingBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation that writes over its input, as ReLU(inplace=True) does, where no gradient will ask for it.

    That is in evaluation on a CPU, without gradients: predictions then need a third less memory for a convolution and
    what follows it, and a little less time. The numbers are those of nn.BatchNorm2d, bit for bit.
    """

    def forward(self, input: Tensor) -> Tensor:
        if self.training or torch.is_grad_enabled() or not _can_be_overwritten(input) or is_followed():
            return super().forward(input)
        mean, variance = self.running_mean, self.running_var
        unused = torch.empty_like(self.weight)  # for statistics of the batch, which evaluation does not take
        torch.native_batch_norm(
            input, self.weight, self.bias, mean, variance, False, 0.0, self.eps, out=(input, unused, unused)
        )
        return input


def overwrite_in_predictions(network: nn.Module) -> None:
    """Have torch's batch normalisation overwrite its inputs, in place, in a network of which each follows a convolution
    whose output goes nowhere else, as in torchvision's."""
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = OverwritingBatchNorm2d


def _can_be_overwritten(input: Tensor) -> bool:
    """Whether it is a plain tensor of a CPU, in one of the two layouts that networks have."""
    return (
        type(input) is Tensor
        and input.device.type == "cpu"
        and input.ndim == 4
        and (input.is_contiguous() or input.is_contiguous(memory_format=torch.channels_last))
    )
