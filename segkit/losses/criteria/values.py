"""What a criterion says of each pixel, and the class weights that criteria share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from segkit.losses.criteria.inputs import show_shape
from segkit.losses.kernels.labels import Labels


class Fused(NamedTuple):
    """What the sums of the backends `numba` and `triton` read instead of labels and class weights: the target as it is,
    and whether every class weighs 1."""

    backend: str
    target: Tensor
    ignore_index: int
    unweighted: bool


@dataclass(frozen=True)
class PixelValues:
    """What a criterion says of each pixel; tensors are (N, *spatial), and 0 (False) at ignored pixels.

    `value` is the criterion with its class weights and carries the gradient. `class_weight` is the weight
    already in `value`, for reductions that divide by it. `ce` is plain -log(probability of the true class),
    detached: what selections rank by, and what losses of different kinds are compared by. `label` is the true
    class (int64), of soft labels the largest. `wrong` (bool): valid pixels of which another class is more probable.
    `fused` if the backend `numba` or `triton` has computed it.
    """

    value: Tensor
    class_weight: Tensor
    ce: Tensor
    valid: Tensor
    label: Tensor
    wrong: Tensor
    num_classes: int
    fused: Fused | None = None

    @classmethod
    def deferred(cls, makers: dict[str, Callable[[], Tensor]], **known: Any) -> "PixelValues":
        """With some tensors that are made when somebody first asks for them, since most losses do not."""
        values = cls.__new__(cls)
        values.__dict__.update(known, _makers=makers)
        return values

    def __getattr__(self, name: str) -> Any:
        makers = self.__dict__.get("_makers", {})
        if name not in makers:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        value = self.__dict__[name] = makers[name]()
        return value

    def with_value(self, value: Tensor) -> "PixelValues":
        """The same pixels with another `value`, of the same class weights."""
        # While a graph is traced nothing is deferred, and an object's dict is no part of it.
        makers = None if torch.compiler.is_compiling() else self.__dict__.get("_makers")
        if makers is None:
            rest = (
                self.class_weight,
                self.ce,
                self.valid,
                self.label,
                self.wrong,
                self.num_classes,
                self.fused,
            )
            return PixelValues(value, *rest)
        known = {name: item for name, item in self.__dict__.items() if name not in ("_makers", "value")}
        return PixelValues.deferred(makers, value=value, **known)


def class_weight_of(target: Tensor, labels: Labels, weights: Tensor | None, dtype: torch.dtype) -> Tensor:
    """The class weight of each pixel (N, *spatial), 0 at ignored ones; without `weights` every class weighs 1.

    Of soft labels y (N, C, *spatial) it is sum_c a_c y_c.
    """
    if target.is_floating_point():
        soft = target.to(dtype)
        return (soft if weights is None else soft * per_class(weights, soft)).sum(dim=1)
    if weights is None:
        return labels.valid.to(dtype)
    return weights.to(dtype)[labels.label] * labels.valid


def per_class(weights: Tensor, like: Tensor) -> Tensor:
    """Weights (C,) as (C, 1, ..., 1), to multiply `like` (N, C, *spatial)."""
    return weights.view(-1, *[1] * (like.ndim - 2))


def place_class_weights(class_weights: Tensor | None, logits: Tensor) -> Tensor | None:
    """The weights (C,) on the device of the logits (N, C, ...), in the dtype of the loss: fp32, of fp64 logits fp64.
    Raises ValueError for another number of them."""
    if class_weights is None:
        return None
    if class_weights.shape != (logits.shape[1],):
        raise ValueError(
            f"class_weights has shape {show_shape(class_weights)} but the logits have {logits.shape[1]} classes"
        )
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    return class_weights.to(device=logits.device, dtype=dtype)


def read_class_weights(
    class_weights: Sequence[float] | Mapping[Any, float] | str | None,
    num_classes: int,
    *,
    name: str = "class_weights",
) -> Tensor | None:
    """One number >= 0 per class as a tensor (C,), or None. Raises ValueError that names the option."""
    if class_weights is None:
        return None
    if isinstance(class_weights, str | Mapping):
        raise ValueError(
            f"{name} must be a list of {num_classes} numbers, one per class, got {class_weights!r}"
        )
    if len(class_weights) != num_classes:
        raise ValueError(f"{name} has {len(class_weights)} values but there are {num_classes} classes")
    weights = torch.tensor([float(weight) for weight in class_weights])
    if not bool((weights.isfinite() & (weights >= 0)).all()):
        raise ValueError(f"{name} must be finite numbers >= 0, got {list(class_weights)}")
    if not bool((weights > 0).any()):
        raise ValueError(f"{name} must not all be 0: nothing would be learned")
    return weights


def check_channels(logits: Tensor, channels: int) -> None:
    """Raises ValueError unless dimension 1 of the logits holds so many classes."""
    if logits.ndim > 1 and logits.shape[1] != channels:
        raise ValueError(f"logits {show_shape(logits)} must have {channels} classes in dimension 1")


def check_label_smoothing(label_smoothing: float) -> None:
    """Raises ValueError unless it is in [0, 1)."""
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}")


def describe_cross_entropy(class_weights: Tensor | None, label_smoothing: float) -> str:
    """The options that differ from plain cross-entropy: `class_weights [1, 2.5]  label_smoothing 0.1`."""
    parts = []
    if class_weights is not None:
        parts.append(show_class_weights(class_weights, name="class_weights"))
    if label_smoothing:
        parts.append(f"label_smoothing {label_smoothing:g}")
    return "  ".join(parts)


def show_class_weights(weights: Tensor, *, name: str) -> str:
    """`class_weights [1, 2.5, 3]`, for one line on the console."""
    return f"{name} [{', '.join(f'{weight:g}' for weight in weights.tolist())}]"
