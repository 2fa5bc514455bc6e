"""What the loop is given: the numbers of a run, its batches, whom it tells, and what a loss returns."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, Protocol

import torch
from torch import Tensor

from segkit.errors import ConfigError
from segkit.evaluation.calibration import Calibration
from segkit.evaluation.evaluate import Evaluation
from segkit.evaluation.model_output import describe_output
from segkit.evaluation.panels import Panel
from segkit.evaluation.views import WHOLE, Views
from segkit.system.device import Wait
from segkit.system.typed import typed

Batch = Mapping[str, Any]


class CountedBatches(Protocol):
    """Batches that can be walked many times, and how many they are."""

    def __iter__(self) -> Iterator[Batch]: ...
    def __len__(self) -> int: ...


class RecorderLike(Protocol):
    """What the loop tells the outside world; the recorder decides when values leave the device."""

    def update(
        self, iteration: int, values: dict[str, Any], batches: list[Batch], *, waited: Wait
    ) -> None: ...
    def flush(self) -> None: ...
    def untrained(self, result: Evaluation) -> None: ...
    def restart_clock(self) -> None: ...
    def evaluation(self, iteration: int, result: Evaluation, *, best: bool) -> None: ...
    def pictures(self, iteration: int, panels: list[Panel]) -> None: ...


@dataclass(frozen=True)
class Plan:
    """How long, how often and how: the numbers of a run, all in iterations."""

    iterations: int
    evaluate_every: int
    checkpoint_every: int
    pictures_every: int
    log_every: int
    num_classes: int
    ignore_index: int
    seed: int = 0
    accumulate: int = 1
    clip_norm: float | None = None
    aux_weight: float = 0.4
    ema_decay: float | None = None
    find_unused: bool = False
    shard: bool = False
    calibration: Calibration = False
    views: Views = WHOLE
    amp_dtype: torch.dtype | None = None

    def seed_of_update(self, iteration: int, *, rank: int = 0) -> int:
        """What the random numbers of an update start from in one of the processes: no two of them alike, of any two
        seeds of a study either."""
        # As if of a seed 2^20 further for each process: nobody trains so many seeds.
        return (self.seed + (rank << 20)) * 1_000_000_007 + iteration


def split_returned(returned: Any, num_classes: int) -> tuple[Tensor, dict[str, Any]]:
    """The value of a loss, and what it tells, in what its `forward` returned.

    Raises ConfigError, saying what was returned, for anything that is no scalar with a gradient and a dict of numbers,
    of tensors of one number, or of tensors of one number per class: what stands beside another in the log would
    otherwise be read from the wrong place.
    """
    if not (isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[1], Mapping)):
        raise _not_understood(f"the loss returned {describe_output(returned)}", num_classes)
    value, told = returned
    if not isinstance(value, Tensor) or value.numel() != 1:
        raise _not_understood(f"the value of the loss is {describe_output(value)}", num_classes)
    if torch.is_grad_enabled() and not value.requires_grad:
        raise ConfigError(
            "the value of the loss has no gradient: it is not connected to the logits\n"
            f"   -> compute it with operations of torch that have one; {typed('check_loss')} NAME tells more"
        )
    for name, each in told.items():
        number = (
            each.shape.numel() in (1, num_classes) if isinstance(each, Tensor) else isinstance(each, Real)
        )
        if not (number and isinstance(name, str)):
            raise _not_understood(f"the loss tells {name!r}: {describe_output(each)}", num_classes)
    return value, dict(told)


def _not_understood(what: str, num_classes: int) -> ConfigError:
    return ConfigError(
        f"{what}\n"
        "   -> a loss returns (value, values to log): a scalar tensor, and a dict by name of numbers, or of tensors "
        f"with one number or one per class ({num_classes}); {typed('check_loss')} NAME tells more"
    )
