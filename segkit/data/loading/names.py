"""What the samples of a data set are called, without reading them."""

from collections.abc import Sequence
from typing import Any

from segkit.errors import DataError


def find_names(dataset: Any) -> Sequence[str] | None:
    """The `name` of each sample, in their order: what `dataset.sample_names()` gives, or `dataset.names` is. None if it
    has neither.

    The first and the last sample are read, since what a data set of somebody's own has under `names` may be something
    else; None too if these are called otherwise, or cannot be used.
    """
    find = getattr(dataset, "sample_names", None)
    names = getattr(dataset, "names", None) if find is None else find()
    try:
        known = names is not None and len(names) == len(dataset) > 0
        ends = sorted({0, len(dataset) - 1}) if known else []
        return names if known and all(dataset[place].name == names[place] for place in ends) else None
    except (DataError, TypeError, KeyError):  # `names` may be anything
        return None
