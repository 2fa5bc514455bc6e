"""The edges: nothing valid, next to nothing valid, nothing left to learn, and numbers that are none."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from segkit.losses.checks.trial import (
    IGNORE_INDEX,
    NotApplicable,
    Subject,
    Trial,
    Violation,
    require_resizing,
    saturated,
    trials,
)

DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def no_valid_pixel(subject: Subject) -> None:
    """No valid pixel: exactly 0, connected, with gradient 0."""
    for dtype in DTYPES:
        for trial in trials(subject, dtype=dtype):
            found = trial.changed(target=torch.full_like(trial.target, IGNORE_INDEX)).run()
            if found.value != 0:
                trial.fail(f"the value is {found.value.item():.6g} where every pixel is ignored")
            if found.gradient.count_nonzero():
                trial.fail("the gradient is not 0 where every pixel is ignored")
            for name, metric in found.metrics.items():
                if not torch.as_tensor(metric).isfinite().all():
                    trial.fail(f"metric {name} is {metric} where every pixel is ignored")


def one_ignored_image(subject: Subject) -> None:
    """One image of the batch without a valid pixel: finite."""
    for trial in trials(subject):
        target = trial.target.clone()
        target[1] = IGNORE_INDEX
        _expect_finite(trial.changed(target=target), "where one image is ignored")


def one_easy_pixel(subject: Subject) -> None:
    """One valid, easy pixel: the value is that of this pixel alone."""
    for trial in trials(subject):
        easy = saturated(trial, 6.0)
        target = torch.full_like(trial.target, IGNORE_INDEX)
        target[0, 0, 0] = trial.target[0, 0, 0]
        found = trial.changed(logits=easy, target=target)
        alone = _with_pixels(found, lambda pixels: pixels[:1, ..., :1, :1].contiguous())
        _expect_finite(found, "with one valid, easy pixel")
        trial.expect_value(found.run().value, alone.run().value, "one valid, easy pixel")


def overfitted(subject: Subject) -> None:
    """Every p(true class) exactly 1: finite, in fp32, bf16 and fp16."""
    for dtype in DTYPES:
        for trial in trials(subject, dtype=dtype):
            _expect_finite(trial.changed(logits=saturated(trial, 200.0)), "where every p(true class) is 1")


def sizes(subject: Subject) -> None:
    """1x1, one row, odd sizes: finite."""
    for size in ((1, 1), (1, 7), (3, 1), (13, 9)):
        for images in (1, 3):
            for trial in trials(subject, size=size, images=images, ignored=0.2):
                _expect_finite(trial, f"for {images} images of {size[0]}x{size[1]}")


def low_resolution(subject: Subject) -> None:
    """Logits at the model's stride: as if resized before (bilinear)."""
    for size, low in (((8, 8), (2, 2)), ((7, 9), (2, 3)), ((4, 5), (1, 1))):
        for trial in trials(subject, size=size, low=low):
            require_resizing(trial)
            resized = F.interpolate(trial.logits, size, mode="bilinear", align_corners=False)
            expected = trial.changed(logits=resized).run().value
            trial.expect_value(
                trial.run().value, expected, f"logits {low[0]}x{low[1]} for {size[0]}x{size[1]}"
            )


def nan_is_shown(subject: Subject) -> None:
    """A NaN logit at a valid pixel is not hidden: the value is NaN."""
    for trial in trials(subject):
        for place in _places(trial):
            _expect_not_finite(trial, float("nan"), place)


def infinity_is_shown(subject: Subject) -> None:
    """An infinite logit at a valid pixel is not hidden.

    The value is infinite or NaN. At the side where p(true class) goes to 0 it may also be the limit of large
    logits, as for losses that are bounded.
    """
    for trial in trials(subject):
        for n, channel, y, x in _places(trial):
            true = int(trial.target[n, y, x])
            if trial.logits.shape[1] == 1:
                _expect_not_finite(trial, -math.inf if true else math.inf, (n, 0, y, x), limit=True)
            else:
                _expect_not_finite(trial, math.inf, (n, channel, y, x))
                _expect_not_finite(trial, -math.inf, (n, true, y, x), limit=True)


def other_shapes(subject: Subject) -> None:
    """(N, C) and volumes: as an image of the same pixels."""
    for trial in trials(subject, size=(4, 6)):
        first = _with_pixels(trial, lambda pixels: pixels[..., :1, :1].contiguous())
        for change, image in (
            (lambda pixels: pixels.unflatten(-2, (2, 2)), trial),  # (..., 4, 6) -> (..., 2, 2, 6)
            (lambda pixels: pixels[..., 0, 0].contiguous(), first),  # (N, C, 4, 6) -> (N, C)
        ):
            other = _with_pixels(trial, change)
            try:
                found = other.run()
            except Violation as violation:
                raise NotApplicable("it takes images only") from violation
            shape = tuple(other.logits.shape)
            trial.expect_value(found.value, image.run().value, f"logits of shape {shape}")


CHECKS = (
    no_valid_pixel,
    one_ignored_image,
    one_easy_pixel,
    overfitted,
    sizes,
    low_resolution,
    nan_is_shown,
    infinity_is_shown,
    other_shapes,
)


def _expect_finite(trial: Trial, when: str) -> None:
    found = trial.run()
    if not found.value.isfinite():
        trial.fail(f"the value is {found.value.item()} {when}")
    if not found.gradient.isfinite().all():
        trial.fail(f"the gradient is not finite {when}")


def _with_pixels(trial: Trial, change: Callable[[Tensor], Tensor]) -> Trial:
    """The trial with `change` applied to the last two dimensions of its tensors."""
    weight = None if trial.weight is None else change(trial.weight)
    return trial.changed(logits=change(trial.logits), target=change(trial.target), weight=weight)


def _places(trial: Trial) -> list[tuple[int, int, int, int]]:
    """The first, middle and last valid pixel, each with another channel."""
    pixels = trial.valid.nonzero().tolist()
    chosen = [pixels[0], pixels[len(pixels) // 2], pixels[-1]]
    return [(n, number % trial.logits.shape[1], y, x) for number, (n, y, x) in enumerate(chosen)]


def _expect_not_finite(trial: Trial, bad: float, place: tuple[int, ...], *, limit: bool = False) -> None:
    """A finding if the value is finite with `bad` at a place; with `limit`, unless it is that of a large logit."""
    value = _value_with(trial, bad, place)
    if value.isfinite() and not (
        limit and torch.allclose(value, _value_with(trial, math.copysign(1e4, bad), place))
    ):
        trial.fail(f"logits{list(place)} = {bad} and the value is {value.item():.6g}")


def _value_with(trial: Trial, logit: float, place: tuple[int, ...]) -> Tensor:
    logits = trial.logits.clone()
    logits[place] = logit
    return trial.changed(logits=logits).value()
