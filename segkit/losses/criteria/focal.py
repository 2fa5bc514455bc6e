"""Criterion `focal`: cross-entropy that counts less the more probable the true class is already."""

from collections.abc import Sequence

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
from segkit.losses.powers import raise_to
from segkit.registry import CRITERIA
from segkit.types import NonNegativeFloat, Share


@CRITERIA.register("focal")
class Focal(nn.Module):
    """Focal loss per pixel, alpha_t (1 - p_t)^gamma ce; selections rank plain ce.

    `gamma` >= 0; 0 is cross-entropy. `alpha` weighs the classes: one number >= 0 per class, or with two classes the
    number in [0, 1] of class 1, class 0 then has 1 - alpha. `backend`: see `kernels`. Raises ValueError otherwise.
    The formula is that of `pixel_focal`.
    """

    def __init__(
        self,
        num_classes: int,
        ignore_index: int = 255,
        *,
        gamma: NonNegativeFloat = 2.0,
        alpha: Share | Sequence[NonNegativeFloat] | None = None,
        backend: BackendName = "auto",
    ):
        super().__init__()
        if not 0 <= gamma < float("inf"):
            raise ValueError(f"gamma must be a number >= 0, got {gamma}")
        self.num_classes, self.ignore_index, self.gamma = num_classes, ignore_index, gamma
        self.backend = check_backend(backend)
        if isinstance(alpha, int | float):
            alpha = _both_classes(alpha, num_classes)
        weights = read_class_weights(alpha, num_classes, name="alpha")
        self.register_buffer("class_weights", weights, persistent=False)  # follows the device, is not saved

    def forward(self, logits: Tensor, target: Tensor) -> PixelValues:
        """Logits (N, C, *any), target (N, *spatial) or (N, C, *spatial) -> values (N, *spatial)."""
        check_channels(logits, self.num_classes)
        return pixel_focal(
            logits,
            target,
            ignore_index=self.ignore_index,
            gamma=self.gamma,
            alpha=self.class_weights,
            backend=self.backend,
        )

    def describe(self) -> str:
        """The options, for one line on the console."""
        alpha = (
            "" if self.class_weights is None else "  " + show_class_weights(self.class_weights, name="alpha")
        )
        return f"gamma {self.gamma:g}{alpha}"


def pixel_focal(
    logits: Tensor,
    target: Tensor,
    *,
    ignore_index: int = 255,
    gamma: float = 2.0,
    alpha: Tensor | None = None,
    backend: str = "auto",
) -> PixelValues:
    """Focal loss of every pixel: sum_c alpha_c y_c (1 - p_c)^gamma (-log p_c), p = softmax(logits).

    Inputs and errors as for `pixel_cross_entropy`; `alpha` (C,) are class weights. The `ce` of the result, by which
    selections rank, is plain cross-entropy. After Lin et al. 2017 (Focal loss for dense object detection), with
    softmax for sigmoid.
    """
    if target.is_floating_point():
        require_reference(backend, "soft labels")
        return _soft_focal(read_inputs(logits, target, ignore_index=ignore_index), gamma, alpha)
    compared = compare(logits, target, ignore_index=ignore_index, class_weights=alpha, backend=backend)
    if compared.backend == "numba":
        from segkit.losses.kernels.cpu.criteria import focal_of  # imports numba

        return compared.values(focal_of(compared.ce, gamma))
    return compared.values(compared.ce * _modulator(compared.ce, gamma))


def _soft_focal(inputs: Inputs, gamma: float, alpha: Tensor | None) -> PixelValues:
    target, labels = inputs.target, inputs.labels
    weights = place_class_weights(alpha, inputs.log_p)
    class_weight = class_weight_of(target, labels, weights, inputs.log_p.dtype)
    # Where a label is 0 its term is 0, whatever the probability, which may be 0 too.
    log_p = torch.where(target != 0, inputs.log_p, 0.0)
    terms = -target * log_p  # (N, C, *spatial)
    ce, terms = terms.sum(dim=1), terms * _modulator(-log_p, gamma)
    value = (terms if weights is None else terms * per_class(weights, terms)).sum(dim=1)
    wrong = wrong_pixels(inputs.log_p, labels.label, labels.valid)
    return PixelValues(value, class_weight, ce.detach(), *labels, wrong, log_p.shape[1])


def _modulator(ce: Tensor, gamma: float) -> Tensor:
    """(1 - p)^gamma from ce = -log p. Below the smallest normal number 1 - p counts as constant, because the slope
    of x^gamma at 0 is infinite for gamma < 1, and would make 0 x infinity of a gradient that tends to 0."""
    if gamma == 0:
        return torch.ones_like(ce)
    return raise_to((-torch.expm1(-ce)).clamp_min(torch.finfo(ce.dtype).tiny), gamma)


def _both_classes(alpha: float, num_classes: int) -> list[float]:
    if num_classes != 2:
        raise ValueError(f"alpha must be a list of {num_classes} numbers, one per class, got {alpha!r}")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be in [0, 1], got {alpha}")
    return [1 - alpha, alpha]
