"""Criteria that are a function of a pixel's cross-entropy: what they share, so that every backend computes them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from segkit.losses.criteria.comparison import compare
from segkit.losses.criteria.inputs import Inputs, read_inputs
from segkit.losses.criteria.pixel_cross_entropy import require_reference
from segkit.losses.criteria.values import (
    PixelValues,
    check_channels,
    class_weight_of,
    per_class,
    place_class_weights,
    read_class_weights,
    show_class_weights,
)
from segkit.losses.kernels import BackendName, check_backend
from segkit.losses.kernels.reference import wrong_pixels
from segkit.types import ClassWeights


@dataclass(frozen=True)
class Curve:
    """linear ce + gain (1 - p^rate), p = exp(-ce) the probability of the true class. `rate` > 0.

    Its slope is linear + gain rate p^rate times that of ce. By expm1, and so exact for small rates and for p near 1.
    """

    linear: float
    gain: float
    rate: float = 1.0

    def __call__(self, ce: Tensor) -> Tensor:
        """Of cross-entropies >= 0 of any shape; differentiable."""
        missing = torch.expm1(-self.rate * ce if self.rate != 1 else -ce)
        return self.linear * ce - self.gain * missing if self.linear else missing * -self.gain

    def compiled(self, ce: Tensor) -> Tensor:
        """The same of pixels (N, *spatial) in fp32 on a CPU by compiled loops."""
        from segkit.losses.kernels.cpu.criteria import curve_of  # imports numba

        return curve_of(ce, self.linear, self.gain, self.rate)


class FunctionOfCE(nn.Module):
    """A criterion whose value is a function of the pixel's cross-entropy: a subclass gives it as `of`.

    `class_weights`: one number >= 0 per class, which multiplies the value. `backend`: see `kernels`. Raises ValueError
    otherwise. What it takes, and what is made of soft labels, says `pixel_function_of_ce`.
    """

    def __init__(
        self,
        num_classes: int,
        ignore_index: int = 255,
        *,
        class_weights: ClassWeights | None = None,
        backend: BackendName = "auto",
    ):
        super().__init__()
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self.backend = check_backend(backend)
        weights = read_class_weights(class_weights, num_classes)
        self.register_buffer("class_weights", weights, persistent=False)  # follows the device, is not saved

    def of(self, ce: Tensor) -> Tensor:
        """The value of pixels with cross-entropy `ce` = -log p(true class) >= 0, of any shape; differentiable."""
        curve = self.curve()
        if curve is None:
            raise NotImplementedError
        return curve(ce)

    def curve(self) -> Curve | None:
        """The same where it is such a curve, which compiled loops know; a subclass that gives this needs no `of`."""
        return None

    def options(self) -> str:
        """The options of `of`, for one line on the console."""
        return ""

    def forward(self, logits: Tensor, target: Tensor) -> PixelValues:
        """Logits (N, C, *any), target (N, *spatial) or (N, C, *spatial) -> values (N, *spatial)."""
        check_channels(logits, self.num_classes)
        return pixel_function_of_ce(
            logits,
            target,
            self.curve() or self.of,
            ignore_index=self.ignore_index,
            class_weights=self.class_weights,
            backend=self.backend,
        )

    def describe(self) -> str:
        """The options, for one line on the console."""
        weights = self.class_weights
        shown = "" if weights is None else show_class_weights(weights, name="class_weights")
        return "  ".join(part for part in (self.options(), shown) if part)


def pixel_function_of_ce(
    logits: Tensor,
    target: Tensor,
    function: Callable[[Tensor], Tensor],
    *,
    ignore_index: int = 255,
    class_weights: Tensor | None = None,
    backend: str = "auto",
) -> PixelValues:
    """a_t `function`(-log p_t) of every pixel, p = softmax(logits); of soft labels y their mean, sum_c a_c y_c
    `function`(-log p_c).

    `function` is elementwise, and asked for cross-entropies >= 0 alone. Inputs and errors as for `pixel_cross_entropy`.
    The `ce` of the result, by which selections rank, is plain cross-entropy.
    """
    if target.is_floating_point():
        require_reference(backend, "soft labels")
        inputs = read_inputs(logits, target, ignore_index=ignore_index)
        return _soft_values(inputs, function, class_weights)
    compared = compare(
        logits, target, ignore_index=ignore_index, class_weights=class_weights, backend=backend
    )
    if compared.backend == "numba" and isinstance(function, Curve):
        return compared.values(function.compiled(compared.ce))  # 0 at ignored pixels, as their ce is
    # Of any other function that need not be.
    return compared.values(torch.where(compared.valid, function(compared.ce), 0.0))


def _soft_values(
    inputs: Inputs, function: Callable[[Tensor], Tensor], class_weights: Tensor | None
) -> PixelValues:
    target, labels = inputs.target, inputs.labels
    weights = place_class_weights(class_weights, inputs.log_p)
    class_weight = class_weight_of(target, labels, weights, inputs.log_p.dtype)
    # Where a label is 0 its term is 0, whatever the probability, which may be 0 too.
    each = torch.where(target != 0, -inputs.log_p, 0.0)  # (N, C, *spatial)
    ce, terms = (target * each).sum(dim=1), target * function(each)
    value = (terms if weights is None else terms * per_class(weights, terms)).sum(dim=1)
    wrong = wrong_pixels(inputs.log_p, labels.label, labels.valid)
    return PixelValues(value, class_weight, ce.detach(), *labels, wrong, each.shape[1])
