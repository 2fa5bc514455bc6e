"""`pixel`: any criterion with any selection and any reduction, composed in the configuration."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from segkit.losses.common.pixel_loss import PixelLoss
from segkit.losses.common.reduction import choose_reduction
from segkit.losses.scope import ScopeName
from segkit.registry import CRITERIA, LOSSES, SELECTIONS, Registry
from segkit.types import ComponentOf


@LOSSES.register("pixel")
def pixel(
    num_classes: int,
    ignore_index: int = 255,
    *,
    criterion: Annotated[Any, ComponentOf("criterion")] = {"name": "ce"},  # noqa: B006 (never changed)
    selection: Annotated[Any, ComponentOf("selection")] = {"name": "all"},  # noqa: B006
    reduction: Literal["valid", "selected", "weights", "recall"] = "selected",
    scope: ScopeName = "batch",
    allow_inactive: bool = False,
) -> PixelLoss:
    """Any criterion x selection x reduction: the mean over valid or selected pixels, by weights or missed classes."""
    criterion = build_part(CRITERIA, criterion, num_classes=num_classes, ignore_index=ignore_index)
    selection = build_part(SELECTIONS, selection)
    return PixelLoss(
        criterion,
        selection,
        choose_reduction(reduction),
        scope=scope,
        name="pixel",
        details=f"reduction {reduction}",
        allow_inactive=allow_inactive,
    )


def build_part(registry: Registry, part: Any, **given: Any) -> Any:
    """The part itself, or what a block `{name: ..., <options>}` means, so that the defaults work from Python."""
    if not isinstance(part, Mapping):
        return part
    options = {key: value for key, value in part.items() if key != "name"}
    return registry.get(part["name"])(**given, **options)
