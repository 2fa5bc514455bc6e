"""What each of the micro-batches of one update counts."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn


def shares(loss: nn.Module, micro_batches: Sequence[Mapping[str, Any]]) -> list[Any]:
    """What each micro-batch counts, in sum 1: by what its mean is taken over, so that the mean over all of them is
    exact; equal for a loss that does not say (`denominator`)."""
    count = len(micro_batches)
    denominator: Any = getattr(loss, "denominator", None)
    if count == 1 or denominator is None:
        return [1.0 / count] * count
    parts = [denominator(batch["target"], batch.get("weight")) for batch in micro_batches]
    total = torch.stack(parts).sum()
    return [part / torch.where(total > 0, total, 1) for part in parts]  # nothing valid: every loss is 0


def times(value: Any, share: Any) -> Any:
    """Their product. Of a single micro-batch it is the value itself: on a GPU each product is a launch."""
    return value if isinstance(share, float) and share == 1 else value * share
