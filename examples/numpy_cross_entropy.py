"""An own loss by hand: cross-entropy whose forward and backward are NumPy. A pattern to copy.

    python scripts/check_loss.py numpy_ce --import examples/numpy_cross_entropy.py
    python train.py --config debug.yaml --import examples/numpy_cross_entropy.py loss.name=numpy_ce

For a loss that PyTorch cannot differentiate, or that another library computes. It has three parts: NumPy
functions that know nothing of PyTorch, a torch.autograd.Function that carries arrays between the two, and
the module that segkit registers. It trains to the same curve as `ce`, only slower, since every batch goes to the
CPU and back.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from segkit.registry import LOSSES


def cross_entropy(logits: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean of -log softmax(logits)[target] over P pixels, and its gradient, from logits (P, C) and ids (P,)."""
    pixels = np.arange(len(target))
    with np.errstate(
        invalid="ignore"
    ):  # inf - inf is NaN, and so is the loss: that is the message, not a warning
        shifted = logits - logits.max(axis=1, keepdims=True)  # exp cannot overflow
        exponentials = np.exp(shifted)
        sums = exponentials.sum(axis=1, keepdims=True)  # (P, 1)
        value = (np.log(sums[:, 0]) - shifted[pixels, target]).mean()
        gradient = exponentials / sums  # softmax - one-hot, (P, C)
    gradient[pixels, target] -= 1
    return float(value), gradient / len(target)


class NumpyCrossEntropy(torch.autograd.Function):
    """Carries logits to NumPy, and the gradient back to their device and dtype."""

    @staticmethod
    def forward(ctx, logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
        """Logits (N, C, H, W), fp32 or fp64 on any device, target (N, H, W) -> 0-d tensor beside the logits."""
        z = np.moveaxis(logits.detach().cpu().numpy(), 1, -1)  # (N, C, H, W) -> (N, H, W, C)
        t = target.cpu().numpy().astype(np.int64)  # uint8 ids are fine to store, not to count with
        valid = t != ignore_index
        gradient = np.zeros_like(z)  # exactly 0 at ignored pixels, whatever their logits are
        value = 0.0  # where nothing is valid
        if valid.any():
            value, gradient[valid] = cross_entropy(z[valid], t[valid])  # z[valid] is (P, C)
        back = torch.from_numpy(np.moveaxis(gradient, -1, 1))  # (N, H, W, C) -> (N, C, H, W)
        ctx.save_for_backward(back.to(logits.device))
        return logits.new_tensor(value)

    @staticmethod
    @once_differentiable
    def backward(ctx, incoming: Tensor) -> tuple[Tensor, None, None]:
        """`incoming` is d(what is minimised) / d(value): not 1 under loss scaling or in a sum of losses."""
        (gradient,) = ctx.saved_tensors
        return incoming * gradient, None, None


@LOSSES.register("numpy_ce")
class NumpyCE(nn.Module):
    """Cross-entropy, the mean over valid pixels, computed by NumPy."""

    def __init__(self, num_classes: int, ignore_index: int = 255):
        super().__init__()
        self.num_classes, self.ignore_index = num_classes, ignore_index

    def forward(
        self, logits: Tensor, target: Tensor, weight: Tensor | None = None, *, iteration: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits (N, C, h, w) of any float dtype, target (N, H, W). Raises ValueError for a weight map."""
        if weight is not None:
            raise ValueError("numpy_ce takes no weight map -> data.weight_map=null")
        # These steps are PyTorch's own, so it differentiates them. NumPy has no bf16, and the sums need fp32.
        if logits.dtype != torch.float64:
            logits = logits.float()
        if logits.shape[2:] != target.shape[1:]:
            logits = F.interpolate(logits, target.shape[1:], mode="bilinear", align_corners=False)
        value = NumpyCrossEntropy.apply(logits, target, self.ignore_index)
        return value, {"ce": value.detach()}
