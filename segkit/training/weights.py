"""Weights beside those that are trained: their moving average; and that none are saved which are NaN or infinite."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from segkit.errors import NotFiniteError


class MovingAverage(AveragedModel):
    """The exponential moving average of a model's weights and buffers, as torch makes it, without waiting.

    torch's own copies the number of updates to the device each time. The host waits for that copy until the GPU is
    through with the update, and nothing there reads it.

    What is no measured quantity is not averaged but taken as it is: whole numbers and flags, such as the index of a
    relative position (torch cuts the average of two equal ones to one less, with some decays:
    findings/an_average_with_other_indices.sh), and buffers that are not finite from the beginning, such as the mask of
    an attention (the average of twice -inf is NaN).
    """

    def __init__(self, model: nn.Module, decay: float):
        average = get_ema_multi_avg_fn(decay)
        super().__init__(model, multi_avg_fn=average, use_buffers=True)
        self.average = average
        # A tensor without values has none that could be infinite.
        finite = [buffer.is_meta or bool(torch.isfinite(buffer).all()) for buffer in model.buffers()]
        self.averaged = [True for _ in model.parameters()] + finite

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Add what the model has become; the first time, take it as it is."""
        first = int(self.n_averaged) == 0  # which is on the host
        groups: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
        taken: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
        tensors = zip(_tensors_of(self.module), _tensors_of(model), self.averaged, strict=True)
        for average, latest, averaged in tensors:
            averaged = averaged and not first and (average.is_floating_point() or average.is_complex())
            averages, others = (groups if averaged else taken).setdefault(average.dtype, ([], []))
            averages.append(average)
            others.append(latest)
        for group in groups.values():
            self.average(*group, self.n_averaged)
        for group in taken.values():
            torch._foreach_copy_(*group)
        self.n_averaged += 1


def _tensors_of(model: nn.Module) -> list[Tensor]:
    return [tensor.detach() for tensor in (*model.parameters(), *model.buffers())]


def require_finite_weights(weights: Mapping[str, Tensor], iteration: int) -> None:
    """Of a model's state. Buffers too: a NaN in the forward pass poisons BatchNorm's even where GradScaler skips the
    step.

    Raises NotFiniteError, which names the first of them.
    """
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise NotFiniteError(f"'{name}' of the model is not finite at iteration {iteration}")


def weights_replaced(model: nn.Module) -> None:
    """Have frozen modules drop what they made of weights that were loaded over since.

    Some modules keep that in evaluation mode until they are trained again, such as the attention of LeViT and TinyViT
    the biases of its positions, and a frozen one never is.
    """
    for module in model.modules():
        if "train" in vars(module):  # which `freeze` has put there
            for mode in (True, False):
                type(module).train(module, mode)
