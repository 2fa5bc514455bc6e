"""`log_cosh_dice`: the Dice loss, flattened towards 0 so that its slope fades as the regions come to agree."""

from functools import partial

from torch import Tensor

from segkit.losses.common.region import (
    Classes,
    RegionForm,
    RegionLoss,
    Regions,
    check_classes,
    check_factor,
    choose_region_scope,
    part,
    read_regions,
    region_mean,
)
from segkit.losses.criteria import read_inputs
from segkit.losses.criteria.inputs import Inputs
from segkit.losses.scope import RegionScopeName
from segkit.registry import LOSSES
from segkit.types import NonNegativeFloat


class LogCoshDice(RegionLoss):
    """log(cosh) of the Dice loss of a batch, the mean over the classes."""

    def compare(self, logits: Tensor, inputs: Inputs, weight: Tensor | None) -> Tensor:
        return log_cosh_mean(self.form, read_regions(inputs, weight, scope=self.scope), classes=self.classes)


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
    inputs = read_inputs(logits, target, ignore_index=ignore_index)
    form = partial(class_dice_loss, smooth=check_factor(smooth, name="smooth"))
    return log_cosh_mean(
        form, read_regions(inputs, weight, scope=choose_region_scope(scope)), classes=check_classes(classes)
    )


def log_cosh_mean(form: RegionForm, regions: Regions, *, classes: Classes) -> Tensor:
    """log(cosh(mean of `form` over the classes)), 0-d."""
    # Of numbers in [0, 1] exact to the last digits, where log(cosh) itself loses them all near 0.
    return (region_mean(form, regions, classes=classes).sinh() ** 2).log1p() / 2


def class_dice_loss(regions: Regions, *, smooth: float) -> Tensor:
    """The Dice loss of each class (C,)."""
    p, y = regions.p, regions.y
    both, errors = regions.sum(p * y, p * (1 - y) + (1 - p) * y)
    return part(errors, 2 * both + smooth)
