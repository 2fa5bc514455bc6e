"""Logits compared with class ids: what the criteria of several classes begin with."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from segkit.losses.criteria.inputs import check_inputs, check_shapes
from segkit.losses.criteria.values import Fused, PixelValues, class_weight_of, place_class_weights
from segkit.losses.kernels import (
    choose_backend,
    numba_criterion,
    numba_cross_entropy,
    upsampled_cross_entropy,
)
from segkit.losses.kernels.labels import Labels, read_labels, valid_pixels

if TYPE_CHECKING:
    from segkit.losses.kernels.cpu.criteria import Criterion


@dataclass(frozen=True)
class Comparison:
    """Of logits with class ids: `ce` (N, *spatial) with gradient and `wrong`, see `PixelCrossEntropy`; `valid` pixels.

    `weights` (C,) are those of the classes. `labels` are None if the `backend` `numba` or `triton` has computed it,
    which reads the target as it is: they are then made when somebody asks for them.
    """

    target: Tensor
    ignore_index: int
    num_classes: int
    weights: Tensor | None
    ce: Tensor
    wrong: Tensor
    valid: Tensor
    labels: Labels | None
    backend: str

    def read_labels(self) -> Labels:
        """What is read of the target."""
        return read_labels(self.target, self.ignore_index) if self.labels is None else self.labels

    def class_weight(self) -> Tensor:
        """See `PixelValues`."""
        if self.weights is None:
            return self.valid.to(self.ce.dtype)
        return class_weight_of(self.target, self.read_labels(), self.weights, self.ce.dtype)

    def values(self, value: Tensor, *, weighted: bool = False) -> PixelValues:
        """Of a criterion whose `value` (N, *spatial) gets its class weights here, unless it is `weighted` already."""
        if self.labels is None and self.weights is None:
            return self._values(value, label=self._label, class_weight=self.class_weight)
        class_weight = self.class_weight()
        value = value if weighted or self.weights is None else value * class_weight
        if self.labels is None:
            return self._values(value, label=self._label, class_weight=lambda: class_weight)
        ce, label = self.ce.detach(), self.labels.label
        return PixelValues(value, class_weight, ce, self.valid, label, self.wrong, self.num_classes)

    def _label(self) -> Tensor:
        return self.read_labels().label

    def _values(self, value: Tensor, **makers: Callable[[], Tensor]) -> PixelValues:
        return PixelValues.deferred(
            makers,
            value=value,
            ce=self.ce.detach(),
            valid=self.valid,
            wrong=self.wrong,
            num_classes=self.num_classes,
            fused=Fused(self.backend, self.target, self.ignore_index, unweighted=self.weights is None),
        )


def compare(
    logits: Tensor, target: Tensor, *, ignore_index: int, class_weights: Tensor | None, backend: str
) -> Comparison:
    """Logits (N, C, *any) with class ids (N, *spatial) and weights (C,), by a backend. Raises ValueError for inputs
    that do not fit together; see `pixel_cross_entropy`."""
    check_shapes(logits, target)
    weights = place_class_weights(class_weights, logits)
    given = (target, ignore_index, logits.shape[1], weights)
    chosen = choose_backend(backend, logits, target)
    if chosen == "numba":
        return Comparison(
            *given, *numba_cross_entropy(logits, target, ignore_index=ignore_index), None, chosen
        )
    # Labels that few ask for are three launches; a graph that is traced makes them of none.
    late = chosen == "triton" and not torch.compiler.is_compiling()
    labels = None if late else check_inputs(logits, target, ignore_index=ignore_index)
    if labels is None and target.device.type == "cpu":  # Triton's interpreter
        check_inputs(logits, target, ignore_index=ignore_index)
    valid = valid_pixels(target, ignore_index) if labels is None else labels.valid
    ce, wrong = upsampled_cross_entropy(
        logits, target, ignore_index=ignore_index, backend=backend, labels=labels
    )
    return Comparison(*given, ce, wrong, valid, labels, chosen)


def compare_by_numba(
    logits: Tensor,
    target: Tensor,
    make: Callable[[], "Criterion | None"],
    *,
    ignore_index: int,
    class_weights: Tensor | None = None,
    weighted: bool = False,
    backend: str = "auto",
) -> PixelValues | None:
    """The values of a criterion that is no function of cross-entropy, by compiled loops; None where the backend is not
    `numba`. `make` is asked for the criterion if it is, and may have none; `weighted`: whether class weights are in its
    value."""
    check_shapes(logits, target)
    if choose_backend(backend, logits, target) != "numba":
        return None
    criterion = make()
    if criterion is None:
        return None
    weights = place_class_weights(class_weights, logits)
    value, ce, wrong, valid = numba_criterion(logits, target, criterion, ignore_index=ignore_index)
    compared = Comparison(target, ignore_index, logits.shape[1], weights, ce, wrong, valid, None, "numba")
    return compared.values(value, weighted=weighted)
