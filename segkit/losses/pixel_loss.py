"""A pixel loss is criterion x selection x reduction; the named losses are compositions of these three."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from segkit.errors import ConfigError
from segkit.losses.criterion import PixelValues
from segkit.losses.selection import Selected

#: (iterations, pixels_per_batch) -> why the loss would be plain cross-entropy throughout, or None.
InactiveCheck = Callable[[int, int], str | None]


@dataclass(frozen=True)
class PixelReport:
    """What a loss does with each pixel, for pictures; all (N, *spatial), without gradient.

    `loss`: plain cross-entropy, fp32, 0 at ignored pixels. `kept`: fp32 in [0, 1], a fraction where pixels
    tie. `valid`: bool.
    """

    loss: Tensor
    kept: Tensor
    valid: Tensor


class PixelLoss(nn.Module):
    """Any criterion with any selection and any reduction.

    `criterion(logits, target) -> PixelValues` (see criterion.py), `selection(ce, valid, *, iteration) ->
    Selected` (selection.py), `reduction(values, selected, weight) -> scalar` (reduction.py). It keeps no
    state: the same arguments give the same value, in train and eval mode, any number of times.

    `name` and `details` are for the console and for errors; `needs_weight` refuses to run without a weight
    map; `inactive` tells `check_run` why a run would not use the selection at all.
    """

    def __init__(
        self,
        criterion: nn.Module,
        selection: Any,
        reduction: Callable[[PixelValues, Selected, Tensor | None], Tensor],
        *,
        name: str = "pixel_loss",
        details: str = "",
        needs_weight: bool = False,
        inactive: InactiveCheck | None = None,
    ):
        super().__init__()
        self.criterion, self.selection, self.reduction = criterion, selection, reduction
        self.name, self.details, self.needs_weight, self.inactive = name, details, needs_weight, inactive

    def forward(
        self, logits: Tensor, target: Tensor, weight: Tensor | None = None, *, iteration: int
    ) -> tuple[Tensor, dict[str, Tensor | float]]:
        """The loss and what to log of it: (scalar with gradient, {name: detached 0-d tensor or float}).

        `logits` (N, C, *any); `target` class ids (N, *spatial) or soft labels (N, C, *spatial); `weight`
        (N, *spatial) multiplies the selected pixels; `iteration`: completed optimiser updates. Raises
        ValueError for inputs that do not fit together, ConfigError if a weight map is needed and missing.
        """
        if iteration is None:
            raise TypeError(f"{self.name} needs the iteration, got None")
        if self.needs_weight and weight is None:
            raise ConfigError(f"{self.name} needs a weight map -> data.weight_map={{name: boundary}}")
        values = self.criterion(logits, target)
        selected = self.selection(values.ce, values.valid, iteration=iteration)
        loss = self.reduction(values, selected, weight)
        return loss, {**measure(values, selected), **self.selection.values_at(iteration)}

    @torch.no_grad()
    def pixels(
        self, logits: Tensor, target: Tensor, weight: Tensor | None = None, *, iteration: int
    ) -> PixelReport:
        """Which pixels the loss keeps, and the cross-entropy of each, at the target's size."""
        values = self.criterion(logits, target)
        selected = self.selection(values.ce, values.valid, iteration=iteration)
        return PixelReport(loss=values.ce.float(), kept=selected.share.float(), valid=values.valid)

    def check_run(self, *, iterations: int, pixels_per_batch: int) -> None:
        """Raises ConfigError if the loss would silently be plain cross-entropy throughout such a run."""
        problem = self.inactive(iterations, pixels_per_batch) if self.inactive else None
        if problem is not None:
            raise ConfigError(f"{self.name} {problem}")

    def describe(self, *, iterations: int, pixels_per_batch: int) -> str:
        """One line for the console."""
        selection = self.selection.describe(iterations=iterations, pixels_per_batch=pixels_per_batch)
        parts = (self.name, self.details, selection, self.criterion.describe())
        return "  ".join(part for part in parts if part)


@torch.no_grad()
def measure(values: PixelValues, selected: Selected) -> dict[str, Tensor]:
    """Values to log, as 0-d tensors that are not read off the device.

    `ce`: mean plain cross-entropy over the valid pixels. `k`: pixels selected. `kept_fraction`: of the valid
    ones. `threshold`: probability of the true class at the boundary, exp(-smallest kept ce).
    `ignored_fraction`: of all pixels. Where nothing is valid the others are 0.
    """
    n_valid = values.valid.sum()
    at_least_one = n_valid.clamp_min(1)
    smallest_kept = values.ce.masked_fill(selected.share == 0, torch.inf).amin()
    return {
        "ce": values.ce.sum() / at_least_one,
        "k": selected.count,
        "kept_fraction": selected.count / at_least_one,
        "threshold": torch.exp(-smallest_kept),
        "ignored_fraction": 1 - n_valid / values.valid.numel(),
    }
