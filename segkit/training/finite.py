"""That no weights are saved which have become NaN or infinite."""

from collections.abc import Mapping

import torch
from torch import Tensor

from segkit.errors import NotFiniteError


def require_finite_weights(weights: Mapping[str, Tensor], iteration: int) -> None:
    """Of a model's state. Buffers too: a NaN in the forward pass poisons BatchNorm's even where GradScaler skips the
    step.

    Raises NotFiniteError, which names the first of them.
    """
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise NotFiniteError(f"'{name}' of the model is not finite at iteration {iteration}")
