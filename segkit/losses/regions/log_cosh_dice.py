"""`log_cosh_dice`: the Dice loss, flattened towards 0 so that its slope fades as the regions come to agree."""

from functools import partial

from torch import Tensor

from segkit.losses.common.batch_loss import choose_region_scope
from segkit.losses.common.region import Classes, check_classes, check_factor, part
from segkit.losses.common.soft_counts import (
    Counted,
    CountForm,
    OverlapLoss,
    SoftCounts,
    class_mean,
    count_softly,
)
from segkit.losses.scope import RegionScopeName
from segkit.registry import LOSSES
from segkit.types import NonNegativeFloat


class LogCoshDice(OverlapLoss):
    """log(cosh) of the Dice loss of a batch, the mean over the classes."""

    def combine(self, counted: Counted) -> Tensor:
        return log_cosh_mean(self.form, counted.counts, classes=self.classes)


@LOSSES.register("log_cosh_dice")
def log_cosh_dice(
    num_classes: int,
    ignore_index: int = 255,
    *,
    smooth: NonNegativeFloat = 1.0,
    classes: Classes = "present",
    scope: RegionScopeName = "batch",
) -> LogCoshDice:
    """Log-cosh Dice loss, log(cosh(Dice loss)) of the mean over classes."""
    check_factor(smooth, name="smooth")
    return LogCoshDice(
        num_classes,
        ignore_index,
        partial(class_dice_loss, smooth=smooth),
        classes=classes,
        scope=scope,
        name="log_cosh_dice",
        details=f"smooth {smooth:g}",
    )


def log_cosh_dice_loss(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    smooth: float = 1.0,
    classes: Classes = "present",
    scope: RegionScopeName = "batch",
    ignore_index: int = 255,
) -> Tensor:
    """log(cosh(D)), as a 0-d tensor, where D is the loss of `dice_loss` with the same arguments, a mean over classes.

    It is about D^2 / 2 and at most log(cosh(1)) = 0.434; its gradient is that of D times tanh(D). Inputs and errors as
    for `pixel_cross_entropy`. After Jadon 2020 (A survey of loss functions for semantic segmentation).
    """
    form = partial(class_dice_loss, smooth=check_factor(smooth, name="smooth"))
    counted = count_softly(
        logits, target, weight, ignore_index=ignore_index, scope=choose_region_scope(scope)
    )
    return log_cosh_mean(form, counted.counts, classes=check_classes(classes))


def log_cosh_mean(form: CountForm, counts: SoftCounts, *, classes: Classes) -> Tensor:
    """log(cosh(mean of `form` over the classes)), 0-d."""
    # Of numbers in [0, 1] exact to the last digits, where log(cosh) itself loses them all near 0.
    return (class_mean(form, counts, classes=classes).sinh() ** 2).log1p() / 2


def class_dice_loss(counts: SoftCounts, *, smooth: float) -> Tensor:
    """The Dice loss of each class (C,)."""
    return part(counts.fp + counts.fn, 2 * counts.tp + smooth)
