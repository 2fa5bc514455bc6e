"""The functions of a pixel's cross-entropy that several losses are: a line and an exponential that saturates."""

from dataclasses import dataclass

import torch
from torch import Tensor


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

    def compiled(self, ce: Tensor, valid: Tensor) -> Tensor:
        """The same of pixels (N, *spatial) in fp32 on a CPU by compiled loops, 0 where one is not valid."""
        from segkit.losses.kernels.cpu.criteria import curve_of  # imports numba

        return curve_of(ce, valid, self.linear, self.gain, self.rate)
