"""The gradient against finite differences, and what it must survive."""

import torch
from torch import Tensor

from segkit.losses.checks.trial import (
    Subject,
    Trial,
    make_trial,
    require_precision,
    require_resizing,
    saturated,
    trials,
)

#: Step and tolerance of central differences, by the precision in which the loss computes. In fp64 the error of
#: the difference is about 1e-9; in fp32 rounding leaves 1e-3 of the value at a step that stays on the curve.
STEPS = {torch.float64: (1e-5, 1e-5), torch.float32: (2e-2, 3e-2)}


def finite_differences(subject: Subject) -> None:
    """Gradient equals finite differences (fp64), at full size."""
    for trial in _small_trials(subject, low=None):
        require_precision(trial)
        _compare_with_differences(trial)


def finite_differences_low(subject: Subject) -> None:
    """Gradient equals finite differences (fp64), through resizing."""
    for trial in _small_trials(subject, low=(2, 2)):
        require_precision(trial)
        require_resizing(trial)
        _compare_with_differences(trial)


def follows_factor(subject: Subject) -> None:
    """Gradient of 1024 x value is 1024 x gradient (GradScaler, aux_weight)."""
    for trial in trials(subject):
        trial.expect_gradient(
            trial.run(factor=1024.0).gradient, 1024 * trial.run().gradient, "1024 x the value"
        )


def finite(subject: Subject) -> None:
    """Gradient is finite for confident logits, right or wrong."""
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        for trial in trials(subject, dtype=dtype):
            for size in (20.0, 1000.0, -20.0, -1000.0):
                found = trial.changed(logits=saturated(trial, size)).run()
                kind = "right" if size > 0 else "wrong"
                if not found.value.isfinite():
                    trial.fail(f"the value is {found.value.item()} for {kind} logits of +-{abs(size):g}")
                if not found.gradient.isfinite().all():
                    trial.fail(f"the gradient is not finite for {kind} logits of +-{abs(size):g}")


CHECKS = (finite_differences, finite_differences_low, follows_factor, finite)


def _small_trials(subject: Subject, low: tuple[int, int] | None) -> list[Trial]:
    """Few pixels, because every logit is moved both ways; random logits lie away from selection boundaries."""
    return [
        make_trial(
            subject.build(num_classes),
            num_classes,
            iteration,
            size=(3, 3) if low is None else (5, 4),
            low=low,
            images=2 if low is None else 1,
            ignored=0.25,
            dtype=torch.float64,
            seed=1,
            device=subject.device,
        )
        for num_classes in subject.class_counts[:2]
        for iteration in {subject.iterations[0], subject.iterations[-1]}
    ]


def _compare_with_differences(trial: Trial) -> None:
    found = trial.run()
    step, tolerance = STEPS.get(found.value.dtype, STEPS[torch.float32])
    trial.expect_gradient(
        found.gradient, _central_differences(trial, step), "not the slope", tolerance=tolerance
    )


def _central_differences(trial: Trial, step: float) -> Tensor:
    slope = torch.zeros_like(trial.logits)
    with torch.no_grad():
        for place in range(trial.logits.numel()):
            sides = []
            for sign in (1, -1):
                moved = trial.logits.clone()
                moved.view(-1)[place] += sign * step
                sides.append(trial.changed(logits=moved).value().double())
            slope.view(-1)[place] = (sides[0] - sides[1]) / (2 * step)
    return slope
