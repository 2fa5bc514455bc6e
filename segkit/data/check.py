"""A look at the data before the first iteration: a second or two that saves wasted runs."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from segkit.data.sample import Sample
from segkit.data.validate import shorten
from segkit.data.view import WeightMaker, read_sample
from segkit.errors import DataError

VAL_SHARE = 4  # one in so many of the samples checked is a validation sample
MUCH_IGNORED = 0.5
HEAD = 4096  # bytes that are compared first


@dataclass
class Tally:
    """What was counted in some samples of one data set."""

    total: int
    pixels: list[int]  # per class
    images: list[int]  # that have the class
    samples: int = 0
    valid: int = 0
    ignored: int = 0
    unlabelled: int = 0  # samples without one labelled pixel
    weighted: int = 0  # valid pixels with a weight above 0
    mask_paths: list[Path] = field(default_factory=list)

    @property
    def ignored_share(self) -> float:
        """Share of the pixels that are ignored."""
        return self.ignored / max(1, self.valid + self.ignored)


@dataclass(frozen=True)
class CheckReport:
    """`summary` is one short line, `table` lists the classes, `warnings` are what somebody should look at."""

    summary: str
    table: list[str]
    warnings: list[str]
    train: Tally
    val: Tally | None


def check_data(
    train: Any,
    val: Any | None = None,
    *,
    weight_map: WeightMaker | None = None,
    batch_size: int | None = None,
    limit: int = 64,
    seconds: float = 2.0,
) -> CheckReport:
    """Read samples spread over the data sets and report what is in them.

    At most `limit` samples are read, and none is begun after `seconds`. Raises DataError if one of them cannot be
    used, for masks of which the foreground would silently be ignored, and for weight maps that are 0 throughout.
    """
    start = time.monotonic()
    errors: list[DataError] = []
    separate = val is not None and val is not train
    val_limit = limit // VAL_SHARE if separate else 0
    train_tally = _tally(train, limit - val_limit, weight_map, errors, until=start + seconds)
    val_tally = _tally(val, val_limit, weight_map, errors, until=start + 1.25 * seconds) if separate else None
    tallies = [train_tally] if val_tally is None else [train_tally, val_tally]
    checked = sum(tally.samples for tally in tallies) + len(errors)
    if errors:
        others = f"\n   {len(errors)} of the {checked} samples checked fail" if len(errors) > 1 else ""
        raise DataError(f"{errors[0]}{others}") from errors[0]
    for dataset, tally in zip((train, val), tallies, strict=False):
        _refuse_ignored_foreground(dataset, tally)
    if weight_map is not None:
        _refuse_weightless(train_tally)
    warnings = _find_oddities(train, train_tally, "train", batch_size)
    if val_tally is not None:
        warnings += _find_oddities(val, val_tally, "val", None)
        warnings += _find_classes_only_in_val(train, train_tally, val_tally)
        warnings += _find_copies(train, val, limit)
    took = time.monotonic() - start
    return CheckReport(
        summary=f"{checked}/{checked} masks fine ({took:.1f} s)",
        table=_describe_classes(train, train_tally),
        warnings=warnings,
        train=train_tally,
        val=val_tally,
    )


def spread(total: int, limit: int) -> list[int]:
    """At most `limit` places among `total`, first and last included, evenly spaced."""
    if total <= limit:
        return list(range(total))
    if limit <= 1:
        return [0] * limit
    return [place * (total - 1) // (limit - 1) for place in range(limit)]


def _tally(
    dataset: Any, limit: int, weight_map: WeightMaker | None, errors: list[DataError], *, until: float
) -> Tally:
    classes = dataset.num_classes
    tally = Tally(total=len(dataset), pixels=[0] * classes, images=[0] * classes)
    for index in spread(len(dataset), limit):
        if tally.samples and time.monotonic() > until:
            break
        try:
            sample = read_sample(dataset, index, weight_map)
        except DataError as error:
            errors.append(error)
        else:
            _count(tally, sample, dataset)
            if sample.mask_path is not None:
                tally.mask_paths.append(sample.mask_path)
    return tally


def _count(tally: Tally, sample: Sample, dataset: Any) -> None:
    target = sample.target.as_subclass(torch.Tensor)  # (H, W)
    if sample.weight is not None:
        weight = sample.weight.as_subclass(torch.Tensor)  # (H, W)
        tally.weighted += int(((weight > 0) & (target != dataset.ignore_index)).sum())
    valid = target[target != dataset.ignore_index].long()  # (V,)
    for class_id, pixels in enumerate(torch.bincount(valid, minlength=dataset.num_classes).tolist()):
        tally.pixels[class_id] += pixels
        tally.images[class_id] += pixels > 0
    tally.samples += 1
    tally.valid += valid.numel()
    tally.ignored += target.numel() - valid.numel()
    tally.unlabelled += valid.numel() == 0


def _refuse_ignored_foreground(dataset: Any, tally: Tally) -> None:
    """Masks of 0 and 255 mean background and foreground nearly always, not background and unknown."""
    ignore = dataset.ignore_index
    explains: Callable[[int], bool] = getattr(dataset, "explains_value", lambda value: True)
    if tally.mask_paths and tally.ignored and not any(tally.pixels[1:]) and not explains(ignore):
        raise DataError(
            f"masks hold only 0 and {ignore}, and {ignore} is ignore_index: all but "
            f"{dataset.class_names[0]!r} would be ignored, as in {tally.mask_paths[0]}\n"
            f"   -> data.label_map: {{0: 0, {ignore}: 1}} if {ignore} is a class, "
            f"{{{ignore}: ignore}} if it does mean unknown"
        )


def _refuse_weightless(tally: Tally) -> None:
    if tally.valid and not tally.weighted:
        raise DataError(
            f"the weight maps of all {tally.samples} train samples checked are 0 at every labelled pixel: "
            "nothing would be learned\n"
            "   -> data.weight_map={name: boundary} computes maps from the labels"
        )


def _find_oddities(dataset: Any, tally: Tally, part: str, batch_size: int | None) -> list[str]:
    """What is suspicious in one data set."""
    found = list(getattr(dataset, "notes", []))
    if part == "train":
        absent = [name for name, images in zip(dataset.class_names, tally.images, strict=True) if not images]
        whole = tally.samples == tally.total
        where = "no train mask" if whole else f"none of the {tally.samples} train masks checked"
        found += [f"in {where}: {shorten(absent)}"] if absent else []
    if tally.ignored_share > MUCH_IGNORED:
        found.append(f"{100 * tally.ignored_share:.0f} % of the {part} pixels checked are ignored")
    if tally.unlabelled:
        found.append(f"{tally.unlabelled} of the {tally.samples} {part} masks checked have no labelled pixel")
    if batch_size is not None and tally.total < batch_size:
        found.append(
            f"{tally.total} {part} images are fewer than a batch of {batch_size}: a batch repeats images"
        )
    jpegs = [path for path in tally.mask_paths if path.suffix.lower() in (".jpg", ".jpeg")]
    if jpegs:
        found.append(
            f"masks are JPEG files, which changes labels near edges: {jpegs[0]} -> save masks as PNG"
        )
    return found


def _find_classes_only_in_val(dataset: Any, train: Tally, val: Tally) -> list[str]:
    names = [
        name
        for name, in_train, in_val in zip(dataset.class_names, train.images, val.images, strict=True)
        if in_val and not in_train
    ]
    return [f"in the val masks checked but not in the train masks checked: {shorten(names)}"] if names else []


def _find_copies(train: Any, val: Any, limit: int) -> list[str]:
    """Image files of the validation set (at most `limit`) that are also in the training set, byte by byte."""
    train_paths, val_paths = getattr(train, "image_paths", None), getattr(val, "image_paths", None)
    if not train_paths or not val_paths:
        return []
    val_paths = [val_paths[place] for place in spread(len(val_paths), limit)]
    val_sizes = {path.stat().st_size for path in val_paths}
    train_heads: dict[tuple[int, bytes], list[Path]] = {}
    for path in train_paths:
        if path.stat().st_size in val_sizes:
            train_heads.setdefault(_head(path), []).append(path)
    copies = [
        (original, path)
        for path in val_paths
        for original in train_heads.get(_head(path), [])
        if original.read_bytes() == path.read_bytes()
    ]
    if not copies:
        return []
    original, path = copies[0]
    count = (
        f"{len(copies)} val images are also train images"
        if len(copies) > 1
        else "1 val image is also a train image"
    )
    return [f"{count}: {path} is {original}, so the scores flatter"]


def _head(path: Path) -> tuple[int, bytes]:
    with path.open("rb") as file:
        return path.stat().st_size, file.read(HEAD)


def _describe_classes(dataset: Any, tally: Tally) -> list[str]:
    """A table of the classes: share of the valid pixels and number of the images checked that have them."""
    width = max(len("ignored"), *(len(name) for name in dataset.class_names))
    lines = [f"{'class':{width}}  pixels      in"]
    for name, pixels, images in _rows(dataset, tally):
        share = 100 * pixels / max(1, tally.valid)
        lines.append(f"{name:{width}}  {share:5.2f} %  {images}/{tally.samples} images")
    lines.append(f"{'ignored':{width}}  {100 * tally.ignored_share:5.2f} %  of all pixels")
    return lines


def _rows(dataset: Any, tally: Tally) -> Iterable[tuple[str, int, int]]:
    return zip(dataset.class_names, tally.pixels, tally.images, strict=True)
