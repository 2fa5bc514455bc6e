"""What the variants of an ablation are scored on, as far as it is known before anything is trained: a report compares
runs on the same images alone."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from segkit.ablation.study.checks.comparable import compare_names
from segkit.data.loading.names import find_names
from segkit.errors import DataError


class Validation(NamedTuple):
    """Of a validation set: its classes, the names of its images if they are known and else their number, and of the
    first image the size of its labels (H, W) and the pixels of each class, None if it cannot be used."""

    class_names: tuple[str, ...]
    count: int
    names: tuple[str, ...] | None = None
    size: tuple[int, ...] = ()
    pixels: tuple[int, ...] | None = None


def look_at(dataset: Any, *, other: Validation | None = None) -> Validation:
    """What the data set that validates is. Of its samples the first and the last are read. Where the names are those of
    the `other`, they are kept once."""
    found = find_names(dataset)
    names = None if found is None else tuple(found)
    names = other.names if other is not None and other.names == names else names
    known = tuple(dataset.class_names), len(dataset), names
    try:
        target = dataset[0].target.numpy().astype(np.int64)
    except DataError:  # the run says it, or goes on without
        return Validation(*known)
    valid = target[(target != dataset.ignore_index) & (target >= 0) & (target < dataset.num_classes)]
    return Validation(*known, target.shape, tuple(np.bincount(valid, minlength=dataset.num_classes).tolist()))


def warn_of_others(found: Mapping[str, Validation], baseline: str) -> list[str]:
    """A line for each variant that is scored on something else than the baseline, or than the first where that is not
    among them."""
    if not found:
        return []
    usual = baseline if baseline in found else next(iter(found))
    lines = []
    for name, own in found.items():
        what, advice = _find_difference(own, found[usual])
        if what:
            told = f"{what} in {name} than in {usual}, so no report can compare them"
            lines.append(f"warning   {told} -> {advice}")
    return lines


def _find_difference(own: Validation, usual: Validation) -> tuple[str, str]:
    """How they differ, as a comparative, and what to do; empty if they are not known to."""
    if own.class_names != usual.class_names:
        classes = f"{', '.join(own.class_names)} instead of {', '.join(usual.class_names)}"
        return f"classes: others ({classes})", "one list of classes for all"
    images = ""
    if own.names is not None and usual.names is not None:
        images = "" if own.names == usual.names else compare_names(own.names, usual.names)
    elif own.count != usual.count:
        images = f"others ({own.count:,} instead of {usual.count:,})"
    if images:
        return f"validation images: {images}", "validate all on the same images"
    if own.pixels is None or usual.pixels is None or own.pixels == usual.pixels:
        return "", ""
    sizes = (
        "" if own.size == usual.size else f" (of {_times(own.size)} instead of {_times(usual.size)} pixels)"
    )
    return f"validation labels: others{sizes}", "score all against the same labels, at the same size"


def _times(size: Sequence[int]) -> str:
    return " x ".join(map(str, size))
