"""Forms of the same inputs: dtypes, strides, precision."""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from segkit.losses.checks.trial import IGNORE_INDEX, Result, Subject, Trial, short, trials

HALVES = (torch.bfloat16, torch.float16)


def target_dtypes(subject: Subject) -> None:
    """uint8, int32 and int64 targets: the same value and gradient."""
    for trial in trials(subject):
        expected = trial.run()
        for dtype in (torch.uint8, torch.int32):
            _expect_same(
                trial, trial.changed(target=trial.target.to(dtype)).run(), expected, f"{short(dtype)} target"
            )


def strides(subject: Subject) -> None:
    """channels_last and non-contiguous inputs: the same."""
    for trial in trials(subject):
        expected = trial.run()
        weight = None if trial.weight is None else _spread(trial.weight)
        for what, changed in (
            ("channels_last logits", {"logits": trial.logits.to(memory_format=torch.channels_last)}),
            ("transposed logits", {"logits": trial.logits.mT.contiguous().mT}),
            ("strided target and weight map", {"target": _spread(trial.target), "weight": weight}),
        ):
            _expect_same(trial, trial.changed(**changed).run(), expected, what)


def autocast(subject: Subject) -> None:
    """Under autocast: the same, since the arithmetic is fp32."""
    dtypes = HALVES if subject.device.type == "cuda" else (torch.bfloat16,)
    for dtype in dtypes:
        for trial in trials(subject):
            expected = trial.run()
            with torch.autocast(subject.device.type, dtype=dtype):
                found = trial.run()
            _expect_same(trial, found, expected, f"autocast {short(dtype)}")


def half_value(subject: Subject) -> None:
    """bf16 and fp16 logits: value as near to fp32 as F.cross_entropy's."""
    for dtype in HALVES:
        worst, bound, trial = _errors(subject, dtype, _value_error, least=1e-6)
        if not worst <= bound:
            trial.fail(f"{short(dtype)} value off by {worst:.1e}, F.cross_entropy by {bound:.1e} (relative)")


def half_gradient(subject: Subject) -> None:
    """bf16 and fp16 logits: gradient as near to fp32 as F.cross_entropy's."""
    for dtype in HALVES:
        rounding = torch.finfo(dtype).eps / 2  # the gradient has the dtype of the logits, whoever computes it
        worst, bound, trial = _errors(subject, dtype, _gradient_error, least=rounding)
        if not worst <= bound:
            trial.fail(
                f"{short(dtype)} gradient off by {worst:.1e}, F.cross_entropy by {bound:.1e} (relative)"
            )


CHECKS = (target_dtypes, strides, autocast, half_value, half_gradient)


def _expect_same(trial: Trial, found: Result, expected: Result, what: str) -> None:
    trial.expect_value(found.value, expected.value, what)
    trial.expect_gradient(found.gradient, expected.gradient, what)


def _spread(pixels: Tensor) -> Tensor:
    """The same pixels (N, H, W), every other element of twice as much memory."""
    return torch.stack([pixels, torch.zeros_like(pixels)], dim=-1)[..., 0]


def _errors(
    subject: Subject, dtype: torch.dtype, error: Callable[[Result, Result], float], *, least: float
) -> tuple[float, float, Trial]:
    """The largest error of the loss, that of F.cross_entropy (but at `least`), and the trial of the first."""
    tried = list(_half_trials(subject, dtype))
    worst, bound, where = -1.0, least, tried[0]
    for trial in tried:
        naive = _naive(trial)
        bound = max(bound, error(naive(trial.logits), naive(trial.logits.float())))
        found = error(trial.run(), trial.changed(logits=trial.logits.float()).run())
        if not found <= worst:  # NaN is the worst of all
            worst, where = found, trial
    return worst, bound, where


def _half_trials(subject: Subject, dtype: torch.dtype) -> Iterator[Trial]:
    for seed in range(3):
        yield from trials(subject, size=(12, 16), dtype=dtype, seed=seed)


def _naive(trial: Trial) -> Callable[[Tensor], Result]:
    """F.cross_entropy as a function of the logits, for one logit as two."""

    def run(logits: Tensor) -> Result:
        leaf = logits.detach().requires_grad_()
        two = leaf if leaf.shape[1] > 1 else torch.cat([torch.zeros_like(leaf), leaf], dim=1)
        value = F.cross_entropy(two, trial.target, ignore_index=IGNORE_INDEX)
        return Result(value.detach(), {}, torch.autograd.grad(value, leaf)[0])

    return run


def _value_error(found: Result, truth: Result) -> float:
    return abs(found.value.double() - truth.value.double()).item() / max(1e-3, abs(truth.value.item()))


def _gradient_error(found: Result, truth: Result) -> float:
    difference = found.gradient.double() - truth.gradient.double()
    return (difference.norm() / truth.gradient.double().norm().clamp_min(1e-6)).item()
