"""Criterion `border_relaxed_ce`: near a border of classes, any class that is near will do."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from segkit.losses.criteria.comparison import compare_by_numba
from segkit.losses.criteria.inputs import check_inputs
from segkit.losses.criteria.values import (
    PixelValues,
    check_channels,
    class_weight_of,
    describe_cross_entropy,
    place_class_weights,
    read_class_weights,
)
from segkit.losses.kernels.labels import Labels, check_radius, neighbours, require_images
from segkit.losses.kernels.reference import log_probabilities, resize, wrong_pixels
from segkit.registry import CRITERIA
from segkit.types import ClassWeights, Radius

if TYPE_CHECKING:
    from segkit.losses.kernels.cpu.criteria import Criterion


@CRITERIA.register("border_relaxed_ce")
class BorderRelaxedCrossEntropy(nn.Module):
    """-log of the probability of all classes in the window around a pixel; selections rank plain ce.

    `radius` r, from 0 to 10: the window has 2r + 1 rows and columns; 0 is cross-entropy. `class_weights`: one number
    >= 0 per class, that of the pixel's own class counts. Raises ValueError otherwise. The formula is that of
    `pixel_border_relaxed`.
    """

    unpromised = dict.fromkeys(("pixel_order", "ties"), "it depends on which pixels lie side by side")

    def __init__(
        self,
        num_classes: int,
        ignore_index: int = 255,
        *,
        radius: Radius = 1,
        class_weights: ClassWeights | None = None,
    ):
        super().__init__()
        self.num_classes, self.ignore_index, self.radius = num_classes, ignore_index, check_radius(radius)
        weights = read_class_weights(class_weights, num_classes)
        self.register_buffer("class_weights", weights, persistent=False)  # follows the device, is not saved

    def forward(self, logits: Tensor, target: Tensor) -> PixelValues:
        """Logits (N, C, h, w), target (N, H, W) -> values (N, H, W)."""
        check_channels(logits, self.num_classes)
        return pixel_border_relaxed(
            logits,
            target,
            radius=self.radius,
            ignore_index=self.ignore_index,
            class_weights=self.class_weights,
        )

    def describe(self) -> str:
        """The options, for one line on the console."""
        weights = describe_cross_entropy(self.class_weights, 0.0)
        return "  ".join(part for part in (f"radius {self.radius}", weights) if part)


def pixel_border_relaxed(
    logits: Tensor,
    target: Tensor,
    *,
    radius: int = 1,
    ignore_index: int = 255,
    class_weights: Tensor | None = None,
) -> PixelValues:
    """a_t (-log sum_{c in W} p_c) of every pixel, W the classes of the valid pixels at most `radius` rows and columns
    away, p = softmax(logits).

    After Zhu et al. 2019 (Improving semantic segmentation via video propagation and label relaxation). Away from
    borders W is the pixel's own class, and the value is ce. Ignored pixels and those outside the image are of no class.
    `logits` (N, C, h, w), resized bilinearly to the `target` (N, H, W) of class ids. The `ce` of the result, by which
    selections rank, is plain cross-entropy. Differentiable once. Raises ValueError for other shapes, soft labels, and
    on the CPU for labels outside [0, C).
    """
    check_radius(radius)
    require_images(target, "border_relaxed_ce")

    def make() -> "Criterion | None":
        from segkit.losses.kernels.cpu import criteria  # imports numba

        return criteria.relaxed(target, radius=radius, classes=logits.shape[1], ignore_index=ignore_index)

    fused = compare_by_numba(logits, target, make, ignore_index=ignore_index, class_weights=class_weights)
    if fused is not None:
        return fused
    labels = check_inputs(logits, target, ignore_index=ignore_index)
    weights = place_class_weights(class_weights, logits)
    logits = resize(logits if logits.dtype == torch.float64 else logits.float(), target.shape[1:])
    near = find_near_classes(labels, radius, classes=logits.shape[1])
    # torch.compile makes a gradient of its own, and does not trace a function that has several results.
    relax = relax_by_autograd if torch.compiler.is_compiling() else _Relaxed.apply
    value, ce, wrong = relax(logits, near, *labels)
    class_weight = class_weight_of(target, labels, weights, logits.dtype)
    value = value if weights is None else value * class_weight
    return PixelValues(value, class_weight, ce, *labels, wrong, logits.shape[1])


def find_near_classes(labels: Labels, radius: int, *, classes: int) -> Tensor:
    """(N, C, H, W) bool: the classes of the valid pixels at most `radius` rows and columns away, and of the pixel
    itself (class 0 where it is ignored)."""
    own = labels.label
    near = torch.zeros(len(own), classes, *own.shape[1:], dtype=torch.bool, device=own.device)
    for _, there in neighbours(labels, radius):
        near.scatter_(1, torch.where(there.valid, there.label, own).unsqueeze(1), True)
    return near


def log_of_near(log_p: Tensor, near: Tensor) -> Tensor:
    """The logarithm (N, H, W) of the probability P of the near classes (N, C, H, W). Where P is near 1 by that of the
    other classes, so that it is exactly 0 where all are near; and NaN if one of `log_p` is."""
    log_near = log_p.masked_fill(~near, float("-inf")).logsumexp(dim=1)
    others = log_p.exp().masked_fill(near, 0.0).sum(dim=1)
    is_near_1 = others < 0.5
    # The slope of log1p is infinite at -1, and 0 x infinity of the branch that is not taken would be NaN.
    by_others = torch.log1p(-others.where(is_near_1, 0.0)) + 0 * log_near
    return torch.where(is_near_1, by_others, log_near)


def relax_by_autograd(
    logits: Tensor, near: Tensor, valid: Tensor, label: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """What `_Relaxed` gives, of plain operations."""
    log_p = log_probabilities(logits, valid)
    inside = log_of_near(log_p, near)  # (N, H, W)
    ce = log_p.detach().gather(1, label.unsqueeze(1)).squeeze(1).neg()
    wrong = wrong_pixels(log_p, label, valid)
    return torch.where(valid, inside.neg(), 0.0), torch.where(valid, ce, 0.0), wrong


class _Relaxed(torch.autograd.Function):
    """The value, plain cross-entropy and wrong pixels (N, H, W) of logits at full size.

    With P the probability of the near classes, the gradient of -log P is p_c outside them, and p_c (P - 1) / P inside.
    """

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, near: Tensor, valid: Tensor, label: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        log_p = torch.log_softmax(logits, dim=1)
        inside = log_of_near(log_p, near)  # (N, H, W)
        ce = log_p.gather(1, label.unsqueeze(1)).squeeze(1).neg().masked_fill_(~valid, 0.0)
        wrong = wrong_pixels(log_p, label, valid)
        ctx.save_for_backward(log_p, near, valid, inside)
        ctx.mark_non_differentiable(ce, wrong)
        return inside.neg().masked_fill(~valid, 0.0), ce, wrong

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        if torch.is_grad_enabled():  # that is, create_graph=True; once_differentiable would say nothing here
            raise RuntimeError("border_relaxed_ce has no second derivative")
        log_p, near, valid, inside = ctx.saved_tensors
        inside, valid = inside.unsqueeze(1), valid.unsqueeze(1)  # (N, 1, H, W)
        # P - 1 by expm1, without the cancellation where P is near 1; p / P by one exponential, since both may be 0.
        slope = torch.where(near, torch.exp(log_p - inside) * torch.expm1(inside), log_p.exp())
        return (slope * gradients[0].unsqueeze(1)).masked_fill(~valid, 0.0), None, None, None
