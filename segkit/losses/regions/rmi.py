"""`rmi`: what windows of the prediction do not tell of those of the labels (region mutual information)."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from segkit.errors import ConfigError
from segkit.losses.common.batch_loss import BatchLoss, choose_region_scope
from segkit.losses.common.reduction import read_weight
from segkit.losses.common.windows import (
    pool_labels,
    pool_mass,
    pool_probabilities,
    weigh_windows,
    window_covariances,
)
from segkit.losses.criteria import read_inputs
from segkit.losses.criteria.inputs import Inputs, show_shape
from segkit.losses.kernels.reference import resize
from segkit.losses.scope import RegionScopeName, Scope
from segkit.registry import LOSSES
from segkit.types import PositiveFloat, PositiveInt, Share

#: What the logits are read as: classes that exclude each other, or a yes or no to each.
Probabilities = Literal["softmax", "sigmoid"]
UNPROMISED = {
    "pixel_order": "it looks at the neighbours of a pixel",
    "ties": "it looks at the neighbours of a pixel",
}


@dataclass(frozen=True)
class Windows:
    """The numbers of the loss; see `rmi_loss`. Raises ValueError for one out of its range."""

    mix: float
    radius: int
    pool: int
    ridge: float
    probabilities: Probabilities

    def __post_init__(self) -> None:
        if not 0 <= self.mix <= 1:
            raise ValueError(f"mix must be in [0, 1], got {self.mix}")
        for key, value in (("radius", self.radius), ("pool", self.pool)):
            if value < 1:
                raise ValueError(f"{key} must be at least 1, got {value}")
        if not 0 < self.ridge < math.inf:
            raise ValueError(f"ridge must be a number > 0, got {self.ridge}")
        if self.probabilities not in ("softmax", "sigmoid"):
            raise ValueError(f"probabilities must be one of softmax, sigmoid, got {self.probabilities!r}")

    @property
    def span(self) -> int:
        """The least height and width of an image that has a window, in pixels."""
        return (self.radius - 1) * self.pool + 1


class RegionMutualInformation(BatchLoss):
    """`rmi_loss` of a batch. `allow_inactive` lets `check_run` pass a run whose images have no window."""

    def __init__(
        self,
        num_classes: int,
        ignore_index: int,
        windows: Windows,
        *,
        scope: RegionScopeName = "batch",
        allow_inactive: bool = False,
    ):
        super().__init__(
            num_classes,
            ignore_index,
            scope=scope,
            name="rmi",
            details=f"mix {windows.mix:g}  radius {windows.radius}  pool {windows.pool}  {windows.probabilities}",
            unpromised=UNPROMISED,
        )
        self.windows, self.allow_inactive = windows, allow_inactive

    def compare(self, logits: Tensor, inputs: Inputs, weight: Tensor | None) -> Tensor:
        return mix_losses(logits, inputs, weight, self.windows, scope=self.scope)

    def check_run(self, *, iterations: int, pixels_per_batch: int, images_per_batch: int = 1) -> None:
        """Raises ConfigError if the images of a run are too small for a window, so that only its other part counts."""
        pixels, span = pixels_per_batch // images_per_batch, self.windows.span
        if pixels < span**2 and not self.allow_inactive:
            raise ConfigError(
                f"rmi sees no window: with radius {self.windows.radius} and pool {self.windows.pool} an image needs "
                f"{span} x {span} pixels but has {pixels:,} -> a smaller pool, or radius"
            )


@LOSSES.register("rmi")
def rmi(
    num_classes: int,
    ignore_index: int = 255,
    *,
    mix: Share = 0.5,
    radius: PositiveInt = 3,
    pool: PositiveInt = 4,
    ridge: PositiveFloat = 5e-4,
    probabilities: Probabilities = "softmax",
    scope: RegionScopeName = "batch",
    allow_inactive: bool = False,
) -> RegionMutualInformation:
    """Region mutual information: mix x cross-entropy + (1 - mix) x what windows of cells leave open of the labels."""
    windows = Windows(mix, radius, pool, ridge, probabilities)
    return RegionMutualInformation(
        num_classes, ignore_index, windows, scope=scope, allow_inactive=allow_inactive
    )


def rmi_loss(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    mix: float = 0.5,
    radius: int = 3,
    pool: int = 4,
    ridge: float = 5e-4,
    probabilities: Probabilities = "softmax",
    scope: RegionScopeName = "batch",
    ignore_index: int = 255,
) -> Tensor:
    """mix sum_V m ce / sum_V m + (1 - mix) R, as a 0-d tensor, of logits (N, C, h, w) and a target (N, H, W).

    Probabilities and labels are averaged by mass over cells of `pool` x `pool` pixels, the valid ones alone; a window
    are `radius` x `radius` cells, and one with a cell without a valid pixel does not count. Over the windows of an
    image, by their mean mass, the cells of a class have the covariances (sums, not means) Y of the labels, P of the
    probabilities, and B between both. S = Y - B (P + ridge I)^-1 B^T is what the probabilities leave open of the labels
    if both are normal. R is the mean over the images that have a window of
    sum_c [log det(S_c + ridge I) - log det(S'_c + ridge I)] / (2 radius^2), where S' is S of probabilities that are the
    labels: 0 for a perfect prediction, and for a class that the image has not. An image without a window has no part
    in R.

    `probabilities`: "softmax" of the logits, or "sigmoid", for which ce is the sum over classes of binary
    cross-entropies. m is the weight map or 1, target ids or soft labels (N, C, H, W). Inputs and errors as for
    `pixel_cross_entropy`, and ValueError for what is no image. After Zhao et al. 2019 (Region mutual information loss
    for semantic segmentation), whose loss differs by a constant.
    """
    windows = Windows(mix, radius, pool, ridge, probabilities)
    inputs = read_inputs(logits, target, ignore_index=ignore_index)
    return mix_losses(logits, inputs, weight, windows, scope=choose_region_scope(scope))


def mix_losses(
    logits: Tensor, inputs: Inputs, weight: Tensor | None, windows: Windows, *, scope: Scope
) -> Tensor:
    """Both parts of the loss of all processes, 0-d."""
    if inputs.log_p.ndim != 4:
        raise ValueError(f"rmi needs images, logits (N, C, H, W), got {show_shape(logits)}")
    valid, dtype = inputs.valid, inputs.log_p.dtype
    mass = valid.to(dtype) if weight is None else read_weight(weight, valid, dtype)
    log_p, ce = inputs.log_p, softmax_ce
    if windows.probabilities == "sigmoid":
        # Finite at ignored pixels, and with no gradient there.
        z = torch.where(valid.unsqueeze(1), resize(logits.to(dtype), valid.shape[1:]), 0.0)
        log_p, ce = F.logsigmoid(z), (lambda inputs: sigmoid_ce(z, inputs))
    pixels = torch.stack([(torch.where(valid, ce(inputs), 0.0) * mass).sum(), mass.sum()])
    sums = torch.cat([pixels, sum_images(log_p, inputs, mass, windows)])
    of_pixels, total, of_images, images = scope.across_with_gradient(sums).unbind()
    by_pixel = of_pixels / (total + (total == 0))
    return windows.mix * by_pixel + (1 - windows.mix) * of_images / images.clamp_min(1)


def softmax_ce(inputs: Inputs) -> Tensor:
    """Cross-entropy of each pixel (N, H, W); anything at ignored ones."""
    if inputs.soft:
        return -(inputs.target * torch.where(inputs.target != 0, inputs.log_p, 0.0)).sum(dim=1)
    return -inputs.log_p.gather(1, inputs.labels.label.unsqueeze(1)).squeeze(1)


def sigmoid_ce(z: Tensor, inputs: Inputs) -> Tensor:
    """The sum over classes of the binary cross-entropies of each pixel (N, H, W); anything at ignored ones."""
    if inputs.soft:
        return (F.softplus(z) - inputs.target * z).sum(dim=1)
    return F.softplus(z).sum(dim=1) - z.gather(1, inputs.labels.label.unsqueeze(1)).squeeze(1)


def sum_images(log_p: Tensor, inputs: Inputs, mass: Tensor, windows: Windows) -> Tensor:
    """The sum of R over the images of this process that have a window, and how many these are: (2,)."""
    cells = pool_mass(mass, windows.pool)  # (N, h, w)
    if min(cells.shape[1:]) < windows.radius:
        return cells.new_zeros(2)
    y = pool_labels(inputs.target, mass, cells, log_p.shape[1], windows.pool)  # (N, C, h, w)
    p = pool_probabilities(log_p, mass, cells, windows.pool)
    weight = weigh_windows(cells, windows.radius)
    # Of p - y and not of p: what is perfect is 0 then, and what is nearly so keeps its digits.
    covariances = window_covariances(y, p - y, weight, windows.radius)
    left = left_open(*covariances, ridge=windows.ridge)  # (N, C)
    return torch.stack([left.sum().to(cells.dtype), (weight > 0).flatten(1).any(dim=1).sum().to(cells.dtype)])


def left_open(yy: Tensor, ye: Tensor, ee: Tensor, *, ridge: float) -> Tensor:
    """[log det(S + ridge I) - log det(S' + ridge I)] / 2d of covariances (..., d, d) of labels y with y, y with p - y
    and p - y with p - y: (...). NaN where rounding has made one of them indefinite."""
    yp = torch.stack([yy + ye, yy])  # of the prediction, and of one that is the labels
    pp = torch.stack([yy + ye + ye.transpose(-2, -1) + ee, yy])
    ridges = ridge * torch.eye(yy.shape[-1], dtype=yy.dtype, device=yy.device)
    # cholesky_ex, because cholesky makes the host wait to see whether it went well.
    lower, wrong = torch.linalg.cholesky_ex(pp + ridges)
    told = torch.linalg.solve_triangular(lower, yp.transpose(-2, -1), upper=False)
    root, wrong_too = torch.linalg.cholesky_ex(yy - told.transpose(-2, -1) @ told + ridges)
    log_det = 2 * root.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
    log_det = log_det.masked_fill((wrong > 0) | (wrong_too > 0), math.nan)
    return (log_det[0] - log_det[1]) / (2 * yy.shape[-1])
