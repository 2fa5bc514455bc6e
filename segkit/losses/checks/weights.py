"""The weight map."""

import torch

from segkit.losses.checks.trial import NotApplicable, Subject, require_weights, trials


def ones(subject: Subject) -> None:
    """A weight map of ones is no weight map."""
    for trial in trials(subject):
        if trial.weight is not None:
            raise NotApplicable("it needs a weight map, so there is no value without")
        require_weights(trial)
        expected = trial.run()
        found = trial.changed(weight=torch.ones_like(trial.target, dtype=torch.float32)).run()
        trial.expect_value(found.value, expected.value, "a map of ones")
        trial.expect_gradient(found.gradient, expected.gradient, "a map of ones")


def zeros(subject: Subject) -> None:
    """A weight map of zeros: exactly 0, connected, with gradient 0."""
    for trial in trials(subject):
        require_weights(trial)
        found = trial.changed(weight=torch.zeros_like(trial.target, dtype=torch.float32)).run()
        if found.value != 0:
            trial.fail(f"the value is {found.value.item():.6g} for a map of zeros")
        if found.gradient.count_nonzero():
            trial.fail("the gradient is not 0 for a map of zeros")


def zero_is_out(subject: Subject) -> None:
    """Gradient is exactly 0 where the weight is 0."""
    for trial in trials(subject):
        require_weights(trial)
        weight = torch.ones_like(trial.target, dtype=torch.float32)
        weight[:, 1::2] = 0
        gradient = trial.changed(weight=weight).run().gradient
        if gradient[:, :, 1::2].count_nonzero():
            trial.fail("a pixel of weight 0 has a gradient")


CHECKS = (ones, zeros, zero_is_out)
