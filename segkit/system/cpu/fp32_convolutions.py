"""Convolutions that a CPU does better in fp32 than in bf16: depthwise ones, and those that give logits."""

import functools

import torch
from torch import Tensor, nn

from segkit.system.cpu.followed import is_followed

#: Libraries whose own kinds of convolutions take one image, as torch's does: they pad it first, or scale their weight.
LIBRARIES = ("timm", "segmentation_models_pytorch")


class _LeavesAutocast(nn.Module):
    """Before a kind of convolution: on a CPU, fp32 in and out of that."""

    def forward(self, input: Tensor) -> Tensor:
        if not torch.is_autocast_enabled("cpu") or input.device.type != "cpu":
            return super().forward(input)
        with torch.autocast("cpu", enabled=False):
            return self.convolve(input.float())

    def convolve(self, input: Tensor) -> Tensor:
        """The convolution of an fp32 image, outside of autocast."""
        return super().forward(input)


class Fp32Conv2d(_LeavesAutocast, nn.Conv2d):
    """A convolution that leaves autocast on a CPU: fp32 in and out.

    Depthwise, because oneDNN's backward passes are up to 5 times as slow in bf16 as in fp32, and with a stride, where
    there is no depthwise kernel for the gradient of the image, up to 30 times (findings/ has a program that shows it).
    For logits, because rounding these and their gradients to bf16 costs half a point of mean IoU in a short training
    (docs/ablation/precision.md).
    """

    def convolve(self, input: Tensor) -> Tensor:
        # On one thread torch leaves convolutions of 1x1 in fp32 to its old kernel, which turns channels_last over
        # first: up to three times as long as oneDNN, to which it leaves them on several threads.
        if torch.get_num_threads() == 1 and not is_followed() and _suits_onednn(input, self):
            return torch.mkldnn_convolution(
                input, self.weight, self.bias, (0, 0), self.stride, self.dilation, self.groups
            )
        return super().convolve(input)


def _suits_onednn(input: Tensor, convolution: nn.Conv2d) -> bool:
    """Whether it is one of 1x1, of plain tensors in channels_last, and oneDNN is there."""
    return (
        (convolution.kernel_size, convolution.padding) == ((1, 1), (0, 0))
        and (type(input), type(convolution.weight)) == (Tensor, nn.Parameter)
        and input.is_contiguous(memory_format=torch.channels_last)
        and convolution.weight.dtype == torch.float32
        and torch.backends.mkldnn.is_available()
        and bool(torch.backends.mkldnn.enabled)
    )


@functools.cache
def _fp32_kind(kind: type[nn.Conv2d]) -> type[nn.Conv2d]:
    """That kind of convolution, leaving autocast on a CPU."""
    return Fp32Conv2d if kind is nn.Conv2d else type(f"Fp32{kind.__name__}", (_LeavesAutocast, kind), {})


def in_fp32(convolution: nn.Conv2d) -> None:
    """Make it an Fp32Conv2d, or of a kind of a library such a kind: the same module, with its parameters and names."""
    if not isinstance(convolution, _LeavesAutocast):
        convolution.__class__ = _fp32_kind(type(convolution))


def depthwise_in_fp32(model: nn.Module) -> nn.Module:
    """The model, with its depthwise convolutions `in_fp32`, torch's and those of LIBRARIES. Others that are derived
    from Conv2d are left as they are."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and 1 < module.groups == module.in_channels:
            kind = type(module)
            if kind is nn.Conv2d or kind.__module__.partition(".")[0] in LIBRARIES:
                in_fp32(module)
    return model
