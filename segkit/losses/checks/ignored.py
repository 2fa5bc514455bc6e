"""Ignored pixels: they are not there."""

import torch

from segkit.losses.checks.trial import (
    IGNORE_INDEX,
    NotApplicable,
    Subject,
    Trial,
    Violation,
    at_pixels,
    require_weights,
    trials,
)

SHARES = (0.3, 0.9)


def no_influence(subject: Subject) -> None:
    """Logits at ignored pixels do not change the value."""
    for share in SHARES:
        for trial in trials(subject, ignored=share):
            expected = trial.run()
            for filling in (-3.0, 40.0):
                changed = trial.changed(logits=_fill_ignored(trial, filling)).run()
                trial.expect_value(changed.value, expected.value, f"logits {filling:g} at ignored pixels")


def zero_gradient(subject: Subject) -> None:
    """Gradient at ignored pixels is exactly 0."""
    for share in SHARES:
        for trial in trials(subject, ignored=share):
            gradient = trial.run().gradient
            wrong = (gradient != 0) & at_pixels(~trial.valid, gradient)
            if wrong.any():
                place = tuple(wrong.nonzero()[0].tolist())
                trial.fail(f"{gradient[place].item():.3g} at logits{list(place)}, where the pixel is ignored")


def not_counted(subject: Subject) -> None:
    """90 % ignored: the value is that of the other 10 % alone."""
    for trial in trials(subject, size=(20, 7), ignored=0.0):
        target = trial.target.clone()
        target[:, 2:] = IGNORE_INDEX
        cropped = trial.changed(
            logits=trial.logits[:, :, :2].contiguous(),
            target=trial.target[:, :2].contiguous(),
            weight=None if trial.weight is None else trial.weight[:, :2].contiguous(),
        )
        whole = trial.changed(target=target).run()
        trial.expect_value(whole.value, cropped.run().value, "90 % ignored")
        trial.expect_gradient(whole.gradient[:, :, :2], cropped.run().gradient, "90 % ignored")


def ignored_nan(subject: Subject) -> None:
    """NaN logits at ignored pixels change neither value nor gradient."""
    for trial in trials(subject):
        expected = trial.run()
        changed = trial.changed(logits=_fill_ignored(trial, float("nan"))).run()
        trial.expect_value(changed.value, expected.value, "NaN at ignored pixels")
        trial.expect_gradient(changed.gradient, expected.gradient, "NaN at ignored pixels")


def ignored_weight(subject: Subject) -> None:
    """The weight map at ignored pixels does not matter."""
    for trial in trials(subject):
        require_weights(trial)
        ones = torch.ones_like(trial.target, dtype=torch.float32)
        expected = trial.changed(weight=ones).run()
        changed = trial.changed(weight=ones.masked_fill(~trial.valid, 7.0)).run()
        trial.expect_value(changed.value, expected.value, "weights of 7 at ignored pixels")


def another_ignore_index(subject: Subject) -> None:
    """The ignore_index it is given counts, not 255."""
    for trial in trials(subject):
        expected = trial.run()
        target = trial.target.masked_fill(~trial.valid, 250)
        other = trial.changed(loss=subject.build(trial.num_classes, ignore_index=250), target=target)
        try:
            trial.expect_value(other.run().value, expected.value, "ignore_index 250")
        except Violation as violation:
            if subject.takes_ignore_index:
                raise
            raise NotApplicable("its constructor takes no ignore_index") from violation


CHECKS = (no_influence, zero_gradient, not_counted, ignored_nan, ignored_weight, another_ignore_index)


def _fill_ignored(trial: Trial, filling: float) -> torch.Tensor:
    return trial.logits.masked_fill(at_pixels(~trial.valid, trial.logits), filling)
