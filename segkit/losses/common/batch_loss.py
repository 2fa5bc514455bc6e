"""A loss that is one number of all pixels of a batch together, on however many processes they are."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from segkit.losses.common.measure import measure
from segkit.losses.common.pixel_loss import PixelReport
from segkit.losses.criteria import CrossEntropy, PixelValues, read_inputs, read_labels, values_of
from segkit.losses.criteria.inputs import Inputs
from segkit.losses.criteria.values import check_channels
from segkit.losses.scope import BATCH, RegionScopeName, Scope, choose_scope
from segkit.losses.selections import All


class BatchLoss(nn.Module):
    """What losses that compare whole regions share; each has its own `compare`, or `evaluate`.

    Without a valid pixel a loss is 0, connected to the logits. It keeps no state. `name` and `details` are for the
    console, `unpromised` for `check_loss`.
    """

    def __init__(
        self,
        num_classes: int,
        ignore_index: int,
        *,
        scope: RegionScopeName = "batch",
        name: str,
        details: str = "",
        unpromised: Mapping[str, str] | None = None,
    ):
        super().__init__()
        self.unpromised = dict(unpromised or {})
        self.criterion = CrossEntropy(num_classes, ignore_index)
        self.scope = choose_region_scope(scope)
        self.name, self.details = name, details

    def compare(self, logits: Tensor, inputs: Inputs, weight: Tensor | None) -> Tensor:
        """The value of the batch, 0-d, the same on all processes of the scope. `logits` are what `inputs` were read
        from."""
        raise NotImplementedError

    def evaluate(self, logits: Tensor, target: Tensor, weight: Tensor | None) -> tuple[Tensor, PixelValues]:
        """That value, and plain cross-entropy of the pixels for the report; for a loss that needs no `Inputs`."""
        inputs = read_inputs(logits, target, ignore_index=self.criterion.ignore_index)
        return self.compare(logits, inputs, weight), values_of(inputs, self.criterion.ignore_index)

    def forward(
        self, logits: Tensor, target: Tensor, weight: Tensor | None = None, *, iteration: int
    ) -> tuple[Tensor, dict[str, Tensor | float]]:
        """The loss and what to log of it: (scalar with gradient, {name: detached tensor}). Arguments and errors as
        for `PixelLoss.forward`; the weight map multiplies what a pixel adds to the regions."""
        if iteration is None:
            raise TypeError(f"{self.name} needs the iteration, got None")
        check_channels(logits, self.criterion.num_classes)
        loss, values = self.evaluate(logits, target, weight)
        # The scope is given, because torch.compile cannot trace a default that is an object.
        selected = All()(values.ce, values.valid, scope=self.scope)
        return loss, measure(values, selected, scope=self.scope)

    @torch.no_grad()
    def denominator(self, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Whether there is a pixel to compare, as 1 or 0, 0-d, from the labels alone.

        Batches that are averaged with these as weights count alike, but for those in which nothing counts: their loss
        is 0 for want of anything, and is not to pull the mean. It is of all processes, which must all call it, except
        in scope `rank`.
        """
        valid = read_labels(target, self.criterion.ignore_index).valid
        counted = valid if weight is None else valid & (weight > 0)
        return (self.scope.sum(counted) > 0).sum()

    @torch.no_grad()
    def pixels(
        self, logits: Tensor, target: Tensor, weight: Tensor | None = None, *, iteration: int
    ) -> PixelReport:
        """Cross-entropy of each pixel, at the target's size; every valid pixel is kept."""
        values = self.criterion(logits, target)
        return PixelReport(loss=values.ce.float(), kept=values.valid.float(), valid=values.valid)

    def describe(self, *, iterations: int, pixels_per_batch: int) -> str:
        """One line for the console."""
        scope = "" if self.scope.name == BATCH.name else f"scope {self.scope.name}"
        return "  ".join(word for word in (self.name, self.details, scope) if word)


def choose_region_scope(name: str) -> Scope:
    """The scope of that name. Raises ValueError for any but `batch` and `rank`: regions of single images are others."""
    if name not in ("batch", "rank"):
        raise ValueError(f"scope must be one of batch, rank, got {name!r}")
    return choose_scope(name)
