"""Criterion `generalized_ce`: between cross-entropy and the probability that is missing, for labels that are noisy."""

from torch import Tensor

from segkit.losses.criteria.function_of_ce import Curve, FunctionOfCE, pixel_function_of_ce
from segkit.losses.criteria.values import PixelValues
from segkit.losses.kernels import BackendName
from segkit.registry import CRITERIA
from segkit.types import ClassWeights, Probability

#: From here down (1 - p^q) / q is cross-entropy to the last bit, and q ce would lose its own bits in fp32.
SMALLEST_Q = 1e-30


@CRITERIA.register("generalized_ce")
class GeneralizedCrossEntropy(FunctionOfCE):
    """Generalized cross-entropy per pixel, (1 - p(true class)^q) / q; selections rank plain ce.

    `q` in (0, 1]: towards 0 it becomes cross-entropy, 1 is 1 - p. Otherwise as `FunctionOfCE`. Raises ValueError for
    options out of range.
    """

    def __init__(
        self,
        num_classes: int,
        ignore_index: int = 255,
        *,
        q: Probability = 0.7,
        class_weights: ClassWeights | None = None,
        backend: BackendName = "auto",
    ):
        super().__init__(num_classes, ignore_index, class_weights=class_weights, backend=backend)
        self.q = check_q(q)

    def curve(self) -> Curve:
        return generalized_of_ce(self.q)

    def options(self) -> str:
        return f"q {self.q:g}"


def pixel_generalized(
    logits: Tensor,
    target: Tensor,
    *,
    q: float = 0.7,
    ignore_index: int = 255,
    class_weights: Tensor | None = None,
    backend: str = "auto",
) -> PixelValues:
    """a_t (1 - p_t^q) / q of every pixel, see `generalized_of_ce`.

    `q` in (0, 1]. Otherwise as `pixel_function_of_ce`.
    """
    q = check_q(q)
    return pixel_function_of_ce(
        logits,
        target,
        generalized_of_ce(q),
        ignore_index=ignore_index,
        class_weights=class_weights,
        backend=backend,
    )


def generalized_of_ce(q: float) -> Curve:
    """(1 - p^q) / q with p = exp(-ce), after Zhang and Sabuncu 2018 (Generalized cross entropy loss for training deep
    neural networks with noisy labels).

    Its slope is p^q times that of ce: finite everywhere, and 0 where p is 0, of which nothing is then learned.
    """
    return Curve(0.0, 1 / q, q)


def check_q(q: float) -> float:
    """The exponent, at least SMALLEST_Q. Raises ValueError unless it is in (0, 1]."""
    if not 0 < q <= 1:
        raise ValueError(f"q must be in (0, 1], got {q}")
    return max(q, SMALLEST_Q)
