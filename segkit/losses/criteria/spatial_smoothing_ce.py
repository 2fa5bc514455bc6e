"""Criterion `spatial_smoothing_ce`: cross-entropy with labels that are softened by those of the pixels around."""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from segkit.losses.criteria.comparison import compare_by_numba
from segkit.losses.criteria.inputs import Inputs, read_inputs
from segkit.losses.criteria.pixel_cross_entropy import values_of
from segkit.losses.criteria.values import (
    PixelValues,
    check_channels,
    describe_cross_entropy,
    read_class_weights,
)
from segkit.losses.kernels.labels import Labels, check_radius, neighbours, require_images
from segkit.registry import CRITERIA
from segkit.types import ClassWeights, PositiveFloat, Radius

if TYPE_CHECKING:
    from segkit.losses.kernels.cpu.criteria import Criterion


@CRITERIA.register("spatial_smoothing_ce")
class SpatialSmoothingCrossEntropy(nn.Module):
    """Cross-entropy with labels smoothed by a Gaussian over neighbouring pixels; selections rank plain ce.

    `sigma` > 0 in pixels; `radius` r, from 0 to 10: the window has 2r + 1 rows and columns, and 0 is cross-entropy.
    `class_weights`: one number >= 0 per class. Raises ValueError otherwise. The formula is that of
    `pixel_spatial_smoothing`.
    """

    unpromised = dict.fromkeys(("pixel_order", "ties"), "it depends on which pixels lie side by side")

    def __init__(
        self,
        num_classes: int,
        ignore_index: int = 255,
        *,
        sigma: PositiveFloat = 1.0,
        radius: Radius = 1,
        class_weights: ClassWeights | None = None,
    ):
        super().__init__()
        self.sigma, self.radius = check_sigma(sigma), check_radius(radius)
        self.num_classes, self.ignore_index = num_classes, ignore_index
        weights = read_class_weights(class_weights, num_classes)
        self.register_buffer("class_weights", weights, persistent=False)  # follows the device, is not saved

    def forward(self, logits: Tensor, target: Tensor) -> PixelValues:
        """Logits (N, C, h, w), target (N, H, W) -> values (N, H, W)."""
        check_channels(logits, self.num_classes)
        return pixel_spatial_smoothing(
            logits,
            target,
            sigma=self.sigma,
            radius=self.radius,
            ignore_index=self.ignore_index,
            class_weights=self.class_weights,
        )

    def describe(self) -> str:
        """The options, for one line on the console."""
        options = f"sigma {self.sigma:g}  radius {self.radius}"
        weights = describe_cross_entropy(self.class_weights, 0.0)
        return "  ".join(part for part in (options, weights) if part)


def pixel_spatial_smoothing(
    logits: Tensor,
    target: Tensor,
    *,
    sigma: float = 1.0,
    radius: int = 1,
    ignore_index: int = 255,
    class_weights: Tensor | None = None,
) -> PixelValues:
    """sum_c a_c y_c (-log p_c) of every pixel, p = softmax(logits), with the labels y of `smooth_labels`.

    After Islam and Glocker 2021 (Spatially varying label smoothing: capturing uncertainty from expert annotations).
    `logits` (N, C, h, w), resized bilinearly to the `target` (N, H, W) of class ids. The `ce` of the result, by which
    selections rank, is plain cross-entropy, and its class weight a_t that of the pixel's own class, as with label
    smoothing. Raises ValueError for other shapes, soft labels, and on the CPU for labels outside [0, C).
    """
    check_sigma(sigma)
    check_radius(radius)
    require_images(target, "spatial_smoothing_ce")

    def make() -> "Criterion | None":
        from segkit.losses.kernels.cpu import criteria  # imports numba

        window = [weight for _, weight in window_weights(sigma, radius)]
        options = {"classes": logits.shape[1], "ignore_index": ignore_index}
        return criteria.smoothed(target, window, radius=radius, class_weights=class_weights, **options)

    fused = compare_by_numba(
        logits, target, make, ignore_index=ignore_index, class_weights=class_weights, weighted=True
    )
    if fused is not None:
        return fused
    inputs = read_inputs(logits, target, ignore_index=ignore_index)
    hard = values_of(inputs, ignore_index, class_weights=class_weights)
    soft = smooth_labels(inputs.labels, sigma, radius, classes=logits.shape[1], dtype=inputs.log_p.dtype)
    values = values_of(Inputs(inputs.log_p, soft, inputs.labels), ignore_index, class_weights=class_weights)
    return hard.with_value(values.value)


def smooth_labels(labels: Labels, sigma: float, radius: int, *, classes: int, dtype: torch.dtype) -> Tensor:
    """Soft labels (N, C, H, W), 0 at ignored pixels: 1 for the pixel's own class, and for those of its neighbours the
    values of a Gaussian that sum to 1 over the whole window; divided by the sum over the neighbours that are there.

    So the own class has at least half, and among its like all. Ignored neighbours and those outside the image are not
    there: the others keep their weights, and the pixel's own share grows.
    """
    soft = torch.zeros(
        len(labels.label), classes, *labels.label.shape[1:], dtype=dtype, device=labels.label.device
    )
    weights = dict(window_weights(sigma, radius))
    for place, there in neighbours(labels, radius):
        weight = (there.valid & labels.valid).to(dtype) * weights[place]
        soft.scatter_add_(1, there.label.unsqueeze(1), weight.unsqueeze(1))
    return soft / soft.sum(dim=1, keepdim=True).clamp_min(1.0)


def window_weights(sigma: float, radius: int) -> list[tuple[tuple[int, int], float]]:
    """The places (rows, columns) of a window, row by row, and what they weigh: 1 the pixel itself, the others together
    1."""
    around = range(-radius, radius + 1)
    places = [(rows, columns) for rows in around for columns in around]
    # Relative to the nearest neighbour, so that a small sigma leaves something of it; divided twice, since its square
    # may be 0.
    gauss = [
        math.exp((1 - rows**2 - columns**2) / (2 * sigma) / sigma) if rows or columns else 0.0
        for rows, columns in places
    ]
    total = sum(gauss)
    return [(place, each / total if any(place) else 1.0) for place, each in zip(places, gauss, strict=True)]


def check_sigma(sigma: float) -> float:
    """Raises ValueError unless it is a finite number > 0."""
    if not 0 < sigma < float("inf"):
        raise ValueError(f"sigma must be a number > 0, got {sigma}")
    return sigma
