"""The iteration: the only thing by which a loss knows the time."""

from torch import nn

from segkit.losses.checks.trial import Subject, Trial, make_trial

FAR = 10**9


def pure_schedule(subject: Subject) -> None:
    """The value depends on the iteration passed in, not on those before."""
    moments = [*subject.iterations, 0, FAR]
    for num_classes in subject.class_counts[:1]:
        loss = subject.build(num_classes)
        forwards = [_trial(subject, loss, num_classes, moment).value() for moment in moments]
        backwards = [_trial(subject, loss, num_classes, moment).value() for moment in reversed(moments)]
        for moment, one, other in zip(moments, forwards, reversed(backwards), strict=True):
            fresh = _trial(subject, subject.build(num_classes), num_classes, moment)
            for value in (one, other):
                fresh.expect_value(value, fresh.value(), "after other iterations", tolerance=0)


def extreme_iterations(subject: Subject) -> None:
    """Iterations 0 and 10**9 work."""
    for num_classes in subject.class_counts:
        for iteration in (0, FAR):
            trial = _trial(subject, subject.build(num_classes), num_classes, iteration)
            found = trial.run()
            if not found.value.isfinite() or not found.gradient.isfinite().all():
                trial.fail(f"the value is {found.value.item()}, or its gradient is not finite")


CHECKS = (pure_schedule, extreme_iterations)


def _trial(subject: Subject, loss: nn.Module, num_classes: int, iteration: int) -> Trial:
    return make_trial(loss, num_classes, iteration, device=subject.device)
