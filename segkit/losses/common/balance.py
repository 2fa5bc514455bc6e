"""Terms of a loss brought to one size by the norms of their gradients."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from segkit.losses.scope import add_up, count_processes


class Balanced(NamedTuple):
    """The balanced sum (0-d, with gradient), and of each term its own value and the factor it got (0-d, without)."""

    value: Tensor
    parts: list[Tensor]
    factors: list[Tensor]


def balance(
    terms: Sequence[Callable[[Tensor], Tensor]], weights: Sequence[float], logits: Tensor
) -> Balanced:
    """sum_i w_i f_i L_i with f_i = s / |g_i|, g_i the gradient of term i at the logits (N, C, *any) of the whole batch,
    on however many processes, and s = sum_i w_i |g_i| / sum_i w_i.

    So the terms pull in the ratio of their weights whatever their scales, and as strongly together as the plain sum of
    terms that are alike. The factors count as constants. A term without a gradient keeps the factor 1. The gradient is
    known with the value, and cannot be differentiated again.
    """
    at = logits.detach()
    parts, norms, strength = [], [], logits.new_zeros(())
    direction = torch.zeros_like(at)
    for term, weight in zip(terms, weights, strict=True):
        part, slope = _value_and_gradient(term, at)
        norm = _norm_of_all(slope)
        parts.append(part)
        norms.append(norm)
        strength = strength + weight * norm
        # Not skipped where the norm is 0 or NaN, so that a NaN is never hidden.
        direction += slope * (weight * torch.where(norm > 0, 1 / norm, 0.0))
    strength = strength / max(sum(weights), torch.finfo(at.dtype).tiny)
    factors = [torch.where(norm == 0, 1.0, strength / norm) for norm in norms]
    pieces = [weight * factor * part for weight, factor, part in zip(weights, factors, parts, strict=True)]
    value = _KnownGradient.apply(logits, torch.stack(pieces).sum(), strength * direction)
    return Balanced(value, parts, factors)


def _value_and_gradient(term: Callable[[Tensor], Tensor], at: Tensor) -> tuple[Tensor, Tensor]:
    """A term and its gradient at these logits, both without gradient."""
    with torch.enable_grad():  # also where only the value is wanted, which depends on it
        leaf = at.detach().requires_grad_()
        value = term(leaf)
        (slope,) = torch.autograd.grad(value, leaf)
    return value.detach(), slope


def _norm_of_all(slope: Tensor) -> Tensor:
    """The norm of the gradient of the mean over all processes, of which `slope` is this process's part."""
    return add_up(slope.square().sum()).sqrt() / count_processes()


class _KnownGradient(torch.autograd.Function):
    """A value with the gradient that it is said to have."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        if torch.is_grad_enabled():  # that is, create_graph=True; once_differentiable would say nothing here
            raise RuntimeError("a sum with balance: gradient has no second derivative -> balance: none")
        (known,) = ctx.saved_tensors
        return gradients[0] * known, None, None
