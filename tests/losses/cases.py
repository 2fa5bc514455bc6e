"""Inputs and compositions that several test files share."""

import inspect
from dataclasses import dataclass
from typing import Any, get_args

import torch

from segkit.losses import PixelLoss
from segkit.losses.sum import Term
from segkit.registry import LOSSES
from tests.losses import reference

CLASS_WEIGHTS = [0.5, 2.0, 0.25, 1.0, 4.0]  # exact in every dtype

#: name: (N, C, h, w) of the logits, (H, W) of the target
GEOMETRIES = {
    "odd": ((2, 3, 5, 7), (5, 7)),
    "two classes": ((1, 2, 6, 4), (6, 4)),
    "1x1": ((2, 4, 1, 1), (1, 1)),
    "stride 4": ((1, 3, 2, 2), (8, 8)),
    "odd stride": ((2, 3, 2, 3), (7, 8)),
    "from 1x1": ((1, 3, 1, 1), (4, 5)),
}


#: Every registered loss, whoever wrote it: a new one is covered by being registered.
NAMES = LOSSES.names()


def build(name: str, num_classes: int = 3, **options):
    """The registered loss with its defaults; `bce` is for two classes, a sum needs terms, and priors are numbers."""
    if name == "sum" and not options:
        parts = {"ohem_ce": 1.0, "lovasz": 0.5}
        options = {"terms": [Term(part, build(part, num_classes), weight) for part, weight in parts.items()]}
    if accepts(name, "priors"):  # a file may leave them to the training labels
        options = {"priors": [0.5 / (1 + n) for n in range(num_classes)], **options}
    given = {"num_classes": classes_of(name, num_classes), "ignore_index": 255}
    accepted = inspect.signature(LOSSES.get(name)).parameters
    return LOSSES.get(name)(**{key: value for key, value in given.items() if key in accepted}, **options)


def accepts(name: str, option: str) -> bool:
    return option in inspect.signature(LOSSES.get(name)).parameters


def scopes_of(name: str) -> tuple[str, ...]:
    """The words that its `scope` may be; none if it has no such option."""
    option = inspect.signature(LOSSES.get(name)).parameters.get("scope")
    return () if option is None else get_args(option.annotation)


def classes_of(name: str, num_classes: int = 3) -> int:
    """The number of classes to test a loss with."""
    return 2 if name == "bce" else num_classes


#: Losses that look at where pixels lie, for which an image is more than a list of pixels.
PLACED = [name for name in NAMES if "pixel_order" in getattr(build(name), "unpromised", {})]


def make_batch_for(name: str, shape=(2, 3, 5, 7), size=(5, 7), **options) -> "Batch":
    """A random batch that fits the loss: for `bce` one logit and two classes."""
    batch = make_batch((shape[0], classes_of(name, shape[1]), *shape[2:]), size, **options)
    if name == "bce":
        batch.logits = (batch.logits[:, 1:] - batch.logits[:, :1]).detach().requires_grad_()
    return batch


@dataclass
class Batch:
    """Random inputs, reproducible; about a third of the pixels ignored if asked, but never all."""

    logits: torch.Tensor
    target: torch.Tensor
    weight: torch.Tensor


def make_batch(
    shape=(2, 3, 5, 7),
    size=(5, 7),
    *,
    dtype=torch.float32,
    ignored: bool = False,
    seed: int = 0,
    scale: float = 2.0,
) -> Batch:
    """Logits of `shape`, ids of (N, *size) and a weight map of eighths, which are exact in every dtype."""
    generator = torch.Generator().manual_seed(seed)
    logits = (scale * torch.randn(shape, generator=generator)).to(dtype).requires_grad_()
    target = torch.randint(0, shape[1], (shape[0], *size), generator=generator)
    weight = torch.randint(0, 17, target.shape, generator=generator) / 8
    if ignored:
        hidden = torch.rand(target.shape, generator=generator) < 0.35
        hidden[0].view(-1)[0] = False
        target[hidden] = 255
    return Batch(logits, target, weight)


@dataclass(frozen=True)
class Case:
    """A registered loss with options, and the rule of the reference that it must equal."""

    name: str
    options: dict[str, Any]
    rule: Any  # (class_weights, weight) -> rule
    iteration: int = 0

    def loss(self, num_classes: int, **more) -> PixelLoss:
        return LOSSES.get(self.name)(num_classes=num_classes, ignore_index=255, **self.options, **more)

    def __str__(self) -> str:
        return f"{self.name}({', '.join(f'{k}={v}' for k, v in self.options.items())})"


WARM_UP = {"top_p": 0.2, "start_warm": 10, "end_warm": 20}

CASES = [
    Case("ce", {}, lambda a, m: reference.ce_rule(a, m)),
    Case(
        "weighted_mask_ce",
        {},
        lambda a, m: reference.weighted_mask_rule(m, normalize="pixels", class_weights=a),
    ),
    Case(
        "weighted_mask_ce",
        {"normalize": "weights"},
        lambda a, m: reference.weighted_mask_rule(m, normalize="weights", class_weights=a),
    ),
    Case("bootstrapped_ce", WARM_UP, lambda a, m: reference.bootstrapped_rule(0.2, a, m), iteration=20),
    Case("bootstrapped_ce", WARM_UP, lambda a, m: reference.bootstrapped_rule(0.6, a, m), iteration=15),
    Case("ohem_ce", {"thresh": 0.7, "n_min": 1}, lambda a, m: reference.ohem_rule(0.7, lambda v: 1, a, m)),
    Case("ohem_ce", {"thresh": 0.1, "n_min": 9}, lambda a, m: reference.ohem_rule(0.1, lambda v: 9, a, m)),
    Case(
        "ohem_ce",
        {"thresh": 0.05, "n_min": "1/4"},
        lambda a, m: reference.ohem_rule(0.05, lambda v: max(1, v // 4), a, m),
    ),
]
