"""Order: of pixels, of images, and of pixels that tie."""

from collections.abc import Callable

import torch
from torch import Tensor

from segkit.losses.checks.trial import Subject, Trial, trials

#: 64 pixels, so that vectorised arithmetic has no remainder and treats every pixel alike, to the bit.
SIZE = (8, 8)


def pixel_order(subject: Subject) -> None:
    """Pixel order does not matter, for value and gradient."""
    for trial in trials(subject, size=SIZE):
        _compare(trial, lambda tensor: _shuffle(tensor, seed=2), "pixels in another order")


def image_order(subject: Subject) -> None:
    """Image order does not matter."""
    for trial in trials(subject, size=SIZE, images=3):
        _compare(trial, lambda tensor: tensor[[2, 0, 1]], "images in another order")


def ties(subject: Subject) -> None:
    """Pixels that tie (bf16) are treated alike, whatever their order."""
    for ignored in (0.0, 0.3):
        for trial in trials(subject, size=SIZE, dtype=torch.bfloat16, ignored=ignored):
            few = trial.changed(logits=(trial.logits.float().round() / 2).clamp(-1, 1).to(torch.bfloat16))
            _compare(few, lambda tensor: _shuffle(tensor, seed=3), "tied pixels in another order")


CHECKS = (pixel_order, image_order, ties)


def _compare(trial: Trial, move: Callable[[Tensor], Tensor], what: str) -> None:
    expected = trial.run()
    weight = None if trial.weight is None else move(trial.weight)
    found = trial.changed(logits=move(trial.logits), target=move(trial.target), weight=weight).run()
    trial.expect_value(found.value, expected.value, what)
    trial.expect_gradient(found.gradient, move(expected.gradient), what)


def _shuffle(tensor: Tensor, *, seed: int) -> Tensor:
    """The pixels of every image in one random order."""
    order = torch.randperm(tensor.shape[-2] * tensor.shape[-1], generator=torch.Generator().manual_seed(seed))
    return tensor.flatten(-2)[..., order.to(tensor.device)].reshape(tensor.shape)
