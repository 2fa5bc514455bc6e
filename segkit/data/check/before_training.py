"""A look at the data before the first iteration: a second or two that saves wasted runs."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segkit.data.check.copies import find_equal_files, find_repeated_images, find_shared_images
from segkit.data.check.finding import Finding, warning
from segkit.data.check.look import look_at
from segkit.data.check.oddities import (
    find_classes_only_in_val,
    find_ids_from_1,
    find_ignored_foreground,
    find_oddities,
    find_weightless,
)
from segkit.data.check.tally import Tally, describe_classes, empty_tally
from segkit.data.loading.bad_samples import with_advice
from segkit.data.loading.spread import among_which_few, spread
from segkit.errors import DataError
from segkit.system.typed import typed

if TYPE_CHECKING:  # it needs torch, and a check of files does not
    from segkit.data.loading.view import WeightMaker

VAL_SHARE = 4  # one in so many of the samples checked is a validation sample
LABEL_ERRORS = ("label out of range", "label not in data.label_map", "colours without a meaning")
CLOSELY = 12  # samples of each part whose files are read as they are, too


@dataclass(frozen=True)
class CheckReport:
    """`summary` is one short line, `table` lists the classes, `warnings` are what somebody should look at, each of
    them the text of one of the `findings`."""

    summary: str
    table: list[str]
    warnings: list[str]
    train: Tally
    val: Tally | None
    findings: Sequence[Finding] = ()
    class_names: Sequence[str] = ()

    def as_json(self) -> dict[str, Any]:
        """Everything that was found, in plain values: check.json."""
        return {
            "findings": [finding.as_json() for finding in self.findings],
            "train": self.train.as_json(self.class_names),
            "val": None if self.val is None else self.val.as_json(self.class_names),
        }


def check_data(
    train: Any,
    val: Any | None = None,
    *,
    weight_map: "WeightMaker | None" = None,
    batch_size: int | None = None,
    limit: int = 64,
    seconds: float = 2.0,
    skip_bad: bool = False,
) -> CheckReport:
    """Read samples spread over the data sets and report what is in them.

    At most `limit` samples are read, and none is begun after `seconds`. Raises DataError if one of them cannot be
    used (with `skip_bad`, only if no training sample can; the others are one warning), for an empty set, for masks of
    which the foreground would silently be ignored, and for weight maps that are 0 throughout.
    """
    start = time.monotonic()
    separate = val is not None and val is not train
    val_limit = among_which_few(limit // VAL_SHARE) if separate else 0
    train_limit = among_which_few(limit - val_limit)
    train_tally = _tally(train, "train", train_limit, weight_map, until=start + seconds)
    tallies = [train_tally]
    if separate:
        tallies.append(_tally(val, "val", val_limit, weight_map, until=start + 1.25 * seconds))
    failures = _judge_failures(train, tallies, skip_bad=skip_bad)
    for dataset, tally in zip((train, val), tallies, strict=False):
        _refuse(find_ignored_foreground(dataset, tally))
    if weight_map is not None:
        _refuse(find_weightless(train_tally))
    findings = failures + find_oddities(train, train_tally, "train", batch_size)
    findings += find_repeated_images(train_tally, "train")
    if separate:
        val_tally = tallies[1]
        findings += find_oddities(val, val_tally, "val", None)
        findings += find_repeated_images(val_tally, "val")
        findings += find_classes_only_in_val(train, train_tally, val_tally)
        findings += find_shared_images(train_tally, val_tally, find_equal_files(train, val, limit))
    findings += find_ids_from_1(train, tallies)
    fine, looked_at = (
        sum(counts) for counts in zip(*((t.samples, t.looked_at) for t in tallies), strict=True)
    )
    return CheckReport(
        summary=f"{fine}/{looked_at} masks fine ({time.monotonic() - start:.1f} s)",
        table=describe_classes(train, train_tally),
        warnings=[finding.text for finding in findings],
        train=train_tally,
        val=tallies[1] if separate else None,
        findings=findings,
        class_names=tuple(train.class_names),
    )


def _tally(dataset: Any, part: str, limit: int, weight_map: "WeightMaker | None", *, until: float) -> Tally:
    if not len(dataset):
        raise DataError(f"the {part} set is empty")
    tally = empty_tally(dataset)
    places = spread(len(dataset), limit)
    closely = {places[place] for place in spread(len(places), CLOSELY)}
    for index in places:
        if tally.samples and time.monotonic() > until:
            break
        tally.add(look_at(dataset, index, weight_map, closely=index in closely))
    return tally


def _judge_failures(train: Any, tallies: Sequence[Tally], *, skip_bad: bool) -> list[Finding]:
    """One warning for all samples that cannot be used, if they are to be skipped. Raises DataError otherwise, and
    if there is nothing to train on."""
    failures = [look for tally in tallies for look in tally.failures]
    if not failures:
        return []
    first, looked_at = failures[0].error or "", sum(tally.looked_at for tally in tallies)
    if skip_bad and tallies[0].samples:
        count = f"{len(failures)} of the {looked_at} samples checked cannot be used and will be skipped"
        return [warning("skipped", f"{count}: {first}", [look.name for look in failures])]
    if len(failures) == 1:
        raise DataError(with_advice(first))
    lines = [first, f"   {len(failures)} of the {looked_at} samples checked fail"]
    if first.startswith(LABEL_ERRORS) and hasattr(train, "root"):
        lines.append(f"   -> {typed('check_data', train.root)} lists all values and proposes a label_map")
    raise DataError(with_advice("\n".join(lines)))


def _refuse(findings: Sequence[Finding]) -> None:
    if findings:
        raise DataError(findings[0].text)
